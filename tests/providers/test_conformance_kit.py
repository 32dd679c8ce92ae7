"""The conformance kit catches providers that break their promise."""

from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from batchyard.models import Answer, Ended, Finding, Lost, NotReceived, Policy, Refused, Request
from batchyard.providers.base import Callback, Promise
from batchyard.providers.http import HttpProvider
from batchyard.testing import Fault
from tests.providers.test_conformance import HttpConformance


class TakesFaultsForRefusals(HttpProvider):
    async def send(self, request: Request) -> Answer:
        answer = await super().send(request)
        return Refused(code="x", message="x") if isinstance(answer, Lost) else answer


class TakesFaultsForSuccess(HttpProvider):
    async def send(self, request: Request) -> Answer:
        answer = await super().send(request)
        if not isinstance(answer, Lost | Refused):
            return answer
        return Ended(status="completed" if request.kind == "call" else "booked")


class RepeatsByItself(HttpProvider):
    async def send(self, request: Request) -> Answer:
        answer = await super().send(request)
        return await super().send(request) if isinstance(answer, Lost | Refused) else answer


class ForgetsWhatItSent(HttpProvider):
    async def ask(self, request: Request) -> Finding:
        del request
        return NotReceived()


class SendsANewKeyEachTime(HttpProvider):
    async def send(self, request: Request) -> Answer:
        return await super().send(replace(request, key=f"{uuid4()}.1"))


class RaisesWhatItMeets(HttpProvider):
    async def send(self, request: Request) -> Answer:
        answer = await super().send(request)
        if isinstance(answer, Lost):
            raise ConnectionError(answer.message)
        return answer


class SpeaksItsOwnWords(HttpProvider):
    async def send(self, request: Request) -> Answer:
        del request
        return Ended(status="all good")


class PassesZeroCharactersOn(HttpProvider):
    async def send(self, request: Request) -> Answer:
        return Ended(status="failed", error_message=f"\0{request.key}")


class TakesRefusalsForAnswers(HttpProvider):
    async def send(self, request: Request) -> Answer:
        answer = await super().send(request)
        return replace(answer, is_refusal=False) if isinstance(answer, Ended) else answer


class BelievesEveryCallback(HttpProvider):
    async def read_callback(self, request: Request, callback: Callback) -> Answer:
        del request
        return Ended(status=callback.body.decode())


class PromisesWhatItCannotKeep(HttpProvider):
    @property
    def promise(self) -> Promise:
        return Promise(policy=Policy.ASKABLE)


def after(kit: HttpConformance) -> None:
    kit.test_fault_after_the_effect_is_a_lost_answer(Fault.BAD_GATEWAY_AFTER)


def before(kit: HttpConformance) -> None:
    kit.test_fault_before_the_effect_is_no_news(Fault.CLOSED_BEFORE)


def found(kit: HttpConformance) -> None:
    kit.test_lost_answer_is_found_or_repeated_without_a_second_effect(Fault.RESET_AFTER)


def undecided(kit: HttpConformance) -> None:
    kit.test_undecided_look_up_is_not_taken_for_never_received(Fault.HTML_AFTER)


K = HttpConformance


@pytest.mark.parametrize(
    "broken,policy,test",
    [
        (TakesFaultsForRefusals, Policy.NEITHER, after),
        (TakesFaultsForSuccess, Policy.NEITHER, after),
        (TakesFaultsForSuccess, Policy.NEITHER, before),
        (TakesFaultsForSuccess, Policy.NEITHER, K.test_unreachable_other_side_is_no_news),
        (RepeatsByItself, Policy.NEITHER, after),
        (RepeatsByItself, Policy.NEITHER, before),
        (ForgetsWhatItSent, Policy.ASKABLE, found),
        (ForgetsWhatItSent, Policy.ASKABLE, undecided),
        (SendsANewKeyEachTime, Policy.REPEATABLE, K.test_request_has_one_effect),
        (SendsANewKeyEachTime, Policy.REPEATABLE, found),
        (RaisesWhatItMeets, Policy.NEITHER, after),
        (SpeaksItsOwnWords, Policy.NEITHER, K.test_sending_brings_an_answer),
        (PassesZeroCharactersOn, Policy.NEITHER, K.test_sending_brings_an_answer),
        (
            TakesRefusalsForAnswers,
            Policy.REPEATABLE,
            K.test_bare_refusal_is_no_answer_to_a_key_that_is_sent_again,
        ),
        (BelievesEveryCallback, Policy.NEITHER, K.test_garbage_in_callbacks_is_harmless),
        (PromisesWhatItCannotKeep, Policy.NEITHER, K.test_promise_is_consistent),
    ],
)
def test_kit_catches(
    broken: type[HttpProvider], policy: Policy, test: Callable[[HttpConformance], None]
) -> None:
    class Kit(HttpConformance):
        provider_class = broken

    kit = Kit()
    kit.policy = policy

    with pytest.raises((AssertionError, ConnectionError, UnicodeDecodeError)):
        test(kit)


def test_kit_lets_the_real_one_pass() -> None:
    kit = HttpConformance()
    kit.policy = Policy.ASKABLE
    for test in (after, before, found, undecided, K.test_request_has_one_effect):
        test(kit)
