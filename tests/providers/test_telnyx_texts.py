"""A call through telnyx whose text is not said is not left open in silence."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from batchyard.models import Accepted, Answer, Ended, JsonObject, Request
from batchyard.providers.call_endings import keep
from batchyard.providers.http_exchange import Reply
from batchyard.providers.spoken import TEXT_LENGTH
from batchyard.providers.telnyx import TelnyxProvider
from batchyard.providers.telnyx_answers import is_too_late, read_command_refusal
from batchyard.providers.telnyx_script import STEP_PATIENCE, Step
from tests.providers.fakes.process import Fake
from tests.providers.requests import make_call
from tests.providers.test_telnyx import NOW, errors, make_provider, told

TOO_OLD = NOW - STEP_PATIENCE - timedelta(seconds=1)


@pytest.fixture
def fake(telnyx_server: Fake) -> Iterator[Fake]:
    """Lend the fake with a clean ledger; afterwards nobody may have broken the rules."""
    telnyx_server.change(step_seconds=60)
    yield telnyx_server
    assert telnyx_server.violations() == []


@pytest.fixture
async def provider(fake: Fake) -> AsyncIterator[TelnyxProvider]:
    provider = make_provider(fake)
    yield provider
    await provider.close()


async def dial(provider: TelnyxProvider, **marks: object) -> Request:
    """Place a call; return its request as it comes back with these marks."""
    placed = await provider.send(make_call())
    assert isinstance(placed, Accepted)
    return having(replace(make_call(), reference=placed.reference), **marks)


def having(request: Request, **marks: object) -> Request:
    return replace(request, known_result=keep(request, {}, **marks))


def due(step: Step, *, at: object = NOW) -> JsonObject:
    return {"answered_at": NOW.isoformat(), "step": step, "step_at": str(at)}


async def go_on(provider: TelnyxProvider, request: Request) -> tuple[Request, bool]:
    """Look the call up; return its request as it comes back, and whether it is due at once."""
    found = await provider.ask(request)
    assert isinstance(found, Accepted)
    known = request.known_result if found.result is None else found.result
    return replace(request, known_result=known), found.check_at == NOW


async def hang_up(provider: TelnyxProvider, request: Request) -> Ended:
    answer = await hear(provider, request, "call.hangup")
    assert isinstance(answer, Ended)
    return answer


async def hear(provider: TelnyxProvider, request: Request, kind: str) -> Answer:
    callback = told(
        kind,
        call_control_id=request.reference,
        hangup_cause="normal_clearing",
        sip_hangup_cause="200",
    )
    return await provider.read_callback(request, callback)


def commands(fake: Fake) -> dict[str, int]:
    requests = fake.ledger()["requests"]
    assert isinstance(requests, dict)
    return {name: requests.get(f"POST calls {name}", 0) for name in ("speak", "hangup")}


@pytest.mark.parametrize(
    "text,code",
    [("", "say_empty"), (" \n", "say_empty"), ("x" * (TEXT_LENGTH + 1), "say_too_long")],
)
async def test_text_that_cannot_be_said_is_not_dialled(text: str, code: str, fake: Fake) -> None:
    provider = make_provider(fake, say="{note}")
    answer = await provider.send(make_call(payload={"note": text}))
    await provider.close()
    assert isinstance(answer, Ended)
    assert (answer.status, answer.error_code) == ("error", code)
    assert answer.is_refusal
    assert fake.per_item() == {}


@pytest.mark.parametrize(
    "status,body,is_late,is_refused",
    [
        (404, b"", True, False),
        (422, errors("90018"), True, False),
        (422, errors("10015"), False, True),
        (400, errors("10015"), False, True),
        (403, errors("10010"), False, True),
        (422, b"<html>", False, False),
        (429, errors("10011"), False, False),
        (500, errors("10007"), False, False),
    ],
)
def test_command_is_too_late_or_refused_only_in_the_vendors_words(
    status: int, body: bytes, *, is_late: bool, is_refused: bool
) -> None:
    reply = Reply(status=status, headers={}, body=body)
    assert is_too_late(reply) is is_late
    assert (read_command_refusal(reply) is not None) is is_refused


async def test_refused_text_has_the_call_hung_up_and_is_an_error(
    provider: TelnyxProvider, fake: Fake
) -> None:
    fake.change(step_seconds=60, refuses_speech="10015")
    request, is_due = await go_on(provider, await dial(provider, **due(Step.SPEAK)))
    assert is_due
    request, _ = await go_on(provider, request)
    assert commands(fake) == {"speak": 1, "hangup": 1}
    ended = await hang_up(provider, request)
    assert (ended.status, ended.error_code) == ("error", "say_refused")
    assert "Telnyx answered 422: 10015 Invalid voice" in str(ended.error_message)
    late = await hear(provider, request, "call.machine.detection.ended")
    assert isinstance(late, Accepted)
    assert late.check_at != NOW


async def test_refused_text_that_may_have_been_said_before_is_not_said_to_be_none(
    provider: TelnyxProvider, fake: Fake
) -> None:
    fake.change(step_seconds=60, refuses_speech="10015")
    lost = {**due(Step.SPEAK), "may_have_spoken": True}
    request, _ = await go_on(provider, await dial(provider, **lost))
    ended = await hang_up(provider, request)
    assert (ended.status, ended.error_code) == ("completed", "say_lost")


async def test_row_that_lost_its_text_has_the_call_hung_up(
    provider: TelnyxProvider, fake: Fake
) -> None:
    request = await dial(provider, **due(Step.SPEAK))
    request, is_due = await go_on(provider, replace(request, payload={}))
    assert is_due
    await go_on(provider, request)
    assert commands(fake) == {"speak": 0, "hangup": 1}


async def test_text_that_nobody_confirms_is_given_up_and_the_call_hung_up(
    provider: TelnyxProvider, fake: Fake
) -> None:
    request, is_due = await go_on(provider, await dial(provider, **due(Step.SPEAK, at=TOO_OLD)))
    assert is_due
    request, _ = await go_on(provider, request)
    assert commands(fake) == {"speak": 0, "hangup": 1}
    ended = await hang_up(provider, request)
    assert (ended.status, ended.error_code) == ("completed", "say_lost")
    spoken = await hear(provider, request, "call.speak.ended")
    assert isinstance(spoken, Accepted)
    ended = await hang_up(provider, replace(request, known_result=spoken.result))
    assert (ended.status, ended.error_code) == ("completed", None)


async def test_call_that_lives_on_is_hung_up_once_more(
    provider: TelnyxProvider, fake: Fake
) -> None:
    request, _ = await go_on(provider, await dial(provider, **due(Step.HANG_UP, at=TOO_OLD)))
    assert commands(fake)["hangup"] == 0
    await go_on(provider, request)
    assert commands(fake)["hangup"] == 1
