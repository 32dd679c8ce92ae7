"""What every provider must do, whatever it speaks; subclass `ProviderConformance` in a test."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from random import Random
from typing import ClassVar
from uuid import UUID, uuid4

import orjson

from batchyard.clock import machine_now
from batchyard.errors import Forbidden, InvalidRequest, ProviderError
from batchyard.lifecycle import ENDED_STATUSES, LIVE_STATUSES
from batchyard.models import (
    Accepted,
    Answer,
    Ended,
    Finding,
    JsonObject,
    Kind,
    Lost,
    NotReceived,
    Policy,
    Progress,
    Refused,
    Request,
)
from batchyard.providers.base import Callback, Provider, Surroundings

ANSWERS = (Accepted, Progress, Ended, Refused, Lost)
FINDINGS = (Accepted, Progress, Ended, NotReceived, Lost)

ODD_PAYLOADS: tuple[JsonObject, ...] = (
    {},
    {"parcels": None, "parties": [], "first_name": 5},
    {"": "", "\u2028": "\u202e🚚", "æøå": ["ł", {"deep": [[[[1.5]]]]}]},
    {"number": 10**30, "text": "x" * 100_000},
)

GARBAGE = (
    b"",
    b"\0",
    b"null",
    b"[]",
    b"{}",
    b'"completed"',
    b"{",
    b'{"status": null}',
    b'{"status": ["completed"]}',
    b'{"status": "completed", "result": 5}',
    b'{"status": "no such word"}',
    b"<html>",
    b"\xff\xfe",
    b"[" * 100_000,
    b"status=completed&result=",
)


class ProviderConformance:
    """Subclass it, name the provider's class, and pytest does the rest."""

    provider_class: ClassVar[type[Provider]]
    secret: ClassVar[str | None] = None
    callback_headers: ClassVar[Mapping[str, str]] = {"content-type": "application/json"}

    def settings(self, url: str) -> Mapping[str, object]:
        """Return the settings of a provider whose other side is at `url`."""
        del url
        return {}

    def payload(self, kind: Kind) -> JsonObject:
        """Return what a usual item of this kind carries."""
        return {"first_name": "Åse"} if kind is Kind.CALL else {"parcels": [{"gross_weight": 500}]}

    def test_promise_is_consistent(self) -> None:
        async def examine(provider: Provider) -> None:
            promise = provider.promise
            assert promise.timeout > timedelta(0)
            assert promise.ask_settles_after >= timedelta(0)
            if promise.policy is Policy.ASKABLE:
                assert promise.is_askable, "an askable provider must be askable"
            if promise.policy is Policy.REPEATABLE and promise.key_ttl is not None:
                assert promise.key_ttl > promise.timeout, "no key would live to be repeated"
            assert sorted(promise.looks) == list(promise.looks), "looks come one after the other"
            assert promise.ask_patience >= timedelta(0)
            if promise.is_exclusive_per_number:
                assert promise.policy is Policy.ASKABLE, "only what is asked for by its numbers"
            assert provider.kinds, "a provider does at least one kind of item"
            assert provider.concurrency is None or provider.concurrency > 0

        self._with_provider(examine)

    def test_sending_brings_an_answer(self) -> None:
        async def examine(provider: Provider) -> None:
            for request in self._requests(provider):
                self.check_answer(await provider.send(request), request)

        self._with_provider(examine)

    def test_odd_payloads_are_answered_too(self) -> None:
        async def examine(provider: Provider) -> None:
            for usual in self._requests(provider):
                for payload in ODD_PAYLOADS:
                    request = self.make_request(usual.kind, payload=payload)
                    self.check_answer(await provider.send(request), request)

        self._with_provider(examine)

    def test_asking_brings_a_finding(self) -> None:
        async def examine(provider: Provider) -> None:
            for request in self._requests(provider):
                await provider.send(request)
                asked = self.after_send(request)
                self.check_finding(await provider.ask(asked), asked)

        self._with_provider(examine)

    def test_garbage_in_callbacks_is_harmless(self) -> None:
        random = Random(7)  # noqa: S311  # garbage needs no secrecy
        noise = [random.randbytes(random.randrange(300)) for _ in range(50)]

        async def examine(provider: Provider) -> None:
            for request in self._requests(provider):
                for body in (*GARBAGE, *noise):
                    callback = Callback(url="http://x/", headers=self.callback_headers, body=body)
                    with suppress(InvalidRequest, Forbidden):
                        answer = await provider.read_callback(request, callback)
                        self.check_answer(answer, request)

        self._with_provider(examine)

    def test_checking_says_something_or_raises_a_provider_error(self) -> None:
        async def examine(provider: Provider) -> None:
            with suppress(ProviderError):
                assert all(isinstance(remark, str) for remark in await provider.check())

        self._with_provider(examine)

    def test_closing_twice_does_no_harm(self) -> None:
        async def examine(provider: Provider) -> None:
            await provider.close()
            await provider.close()

        self._with_provider(examine)

    async def keep(self, request: Request, reference: str) -> bool:
        """Keep a reference, as the engine commits it."""
        self.kept[request.key] = reference
        return True

    def after_send(self, request: Request) -> Request:
        """Return a request as it is asked about: with the reference that was kept for it."""
        return replace(request, reference=self.kept.get(request.key, request.reference))

    @cached_property
    def kept(self) -> dict[str, str]:
        """References by key."""
        return {}

    def make_request(self, kind: Kind, *, payload: JsonObject | None = None) -> Request:
        """Make a request with a key never used before."""
        item_id = uuid4()
        return Request(
            key=f"{item_id}.1",
            item_id=item_id,
            batch_id=UUID(int=1),
            team="conformance",
            kind=kind,
            attempt=1,
            delivery=1,
            sent_at=machine_now(),
            payload=self.payload(kind) if payload is None else payload,
            number="+12125550147" if kind is Kind.CALL else None,
        )

    def check_answer(self, answer: Answer, request: Request) -> None:
        """Fail unless an answer is one that the engine can write down."""
        assert isinstance(answer, ANSWERS), f"{answer!r} is no answer"
        self._check_words(answer, request)

    def check_finding(self, finding: Finding, request: Request) -> None:
        """Fail unless a finding is one that the engine can write down."""
        assert isinstance(finding, FINDINGS), f"{finding!r} is no finding"
        self._check_words(finding, request)

    def open_provider(self, url: str) -> Provider:
        """Open the provider as a worker would."""
        return type(self).provider_class(
            Surroundings(
                name="conformance",
                clock=machine_now,
                report=lambda _key, _answer: None,
                settings=self.settings(url),
                secret=self.secret,
                allow_private=True,
                callback_address=lambda request: f"http://127.0.0.1:9/callbacks/{request.key}",
                keep=self.keep,
            )
        )

    def _with_provider(self, examine: Callable[[Provider], Awaitable[None]]) -> None:
        async def run() -> None:
            provider = self.open_provider("http://127.0.0.1:9")
            try:
                await examine(provider)
            finally:
                await provider.close()

        asyncio.run(run())

    def _requests(self, provider: Provider) -> Iterator[Request]:
        for kind in sorted(provider.kinds):
            yield self.make_request(kind)

    def _check_words(self, answer: Answer | Finding, request: Request) -> None:
        match answer:
            case Ended():
                assert answer.status in ENDED_STATUSES[request.kind]
            case Accepted() | Progress():
                assert answer.status is None or answer.status in LIVE_STATUSES[request.kind]
            case Refused():
                assert answer.retry_after_seconds is None or answer.retry_after_seconds >= 0
        content = getattr(answer, "result", None)
        words = orjson.dumps([content if content is None else dict(content), _texts(answer)])
        assert b"\\u0000" not in words, "PostgreSQL stores no NUL characters"


def _texts(answer: Answer | Finding) -> list[str | None]:
    names = ("reference", "code", "message", "error_code", "error_message")
    return [getattr(answer, name, None) for name in names]
