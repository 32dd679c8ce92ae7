"""The `http` provider: one POST per item, answers at once or by callback, look-ups by key."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import uuid4

import httpx
from standardwebhooks import WebhookVerificationError

from batchyard import __version__
from batchyard.errors import Forbidden, InvalidRequest, ProviderError
from batchyard.models import (
    Accepted,
    Answer,
    Ended,
    Finding,
    Kind,
    Lost,
    Policy,
    Refused,
    Request,
)
from batchyard.network import AddressNotAllowed, HttpClient, probe
from batchyard.providers import http_documents
from batchyard.providers.base import Callback, Promise, Provider, Service, Surroundings
from batchyard.providers.http_answers import Booked, read_finding, read_news, read_reply
from batchyard.providers.http_exchange import AnswerLost, Exchange, NotSent
from batchyard.providers.http_settings import HttpSettings, read_secret, read_services
from batchyard.providers.in_flight import InFlight
from batchyard.providers.settings import read_settings

LOOK_UP_PAUSE = timedelta(seconds=5)
LONGEST_LOOK_UP_PAUSE = timedelta(minutes=15)

LONGEST_LOOK_UP_SECONDS = 25.0
"""A look-up takes a place among the questions that are out at once. However long it takes, nobody
else asks the same meanwhile."""

CHECK_SECONDS = 10.0

LARGE_BODY_BYTES = 100_000

T = TypeVar("T")

SIGNATURE_HEADER = "webhook-signature"


class HttpProvider(Provider):
    """Whoever speaks the protocol of docs/providers/http.md."""

    kinds = frozenset(Kind)
    settings_model = HttpSettings
    locating_settings = frozenset({"url", "result_url"})

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._settings = read_settings(HttpSettings, self.name, self.settings)
        self._signer = read_secret(self.name, self.secret)
        self._promise = self._settings.promise
        self.concurrency = self._settings.concurrency
        self._url = httpx.URL(self._settings.url)
        self._client = HttpClient(
            allow_private=self.allow_private, timeout_seconds=self._settings.timeout_seconds
        )
        self._exchange = Exchange(self._client)
        self._in_flight = InFlight()

    @classmethod
    def services(cls, settings: Mapping[str, object]) -> Sequence[Service] | None:
        """Declare what the operator listed, if anything."""
        return read_services(settings)

    @property
    def promise(self) -> Promise:
        """What the operator said this provider guarantees."""
        return self._promise

    async def send(self, request: Request) -> Answer:
        """Post the item once, and fetch the documents of a booking."""
        if self._in_flight.is_closing:
            return Refused(code="provider_closing", message="The provider's settings change.")
        body = self._body(request)
        async with self._in_flight.within(seconds=self._settings.timeout_seconds) as deadline:
            try:
                reply = await self._exchange.carry(
                    "POST",
                    self._url,
                    headers={
                        "Content-Type": "application/json",
                        "Idempotency-Key": request.key,
                        **self._signed(request.key, body),
                    },
                    body=body,
                    deadline=deadline,
                )
            except NotSent as error:
                return Refused(code=error.code, message=error.message)
            except AnswerLost as error:
                return Lost(code=error.code, message=error.message)
            reading = await _aside(
                reply.body,
                partial(
                    read_reply,
                    reply,
                    kind=request.kind,
                    not_done=self._settings.not_done,
                    now=self.clock(),
                ),
            )
            if isinstance(reading, Booked):
                return await self._fetch_documents(request, reading, deadline=deadline)
        if isinstance(reading, Accepted) and self._promise.is_askable:
            return replace(reading, check_at=self._first_look_up())
        return reading

    async def ask(self, request: Request) -> Finding:
        """Look the key up, and fetch the documents of a booking that still waits for them."""
        kept = http_documents.find_kept(request)
        seconds = min(self._settings.timeout_seconds, LONGEST_LOOK_UP_SECONDS)
        async with self._in_flight.within(seconds=seconds) as deadline:
            finding = await self._look_up(request, deadline=deadline)
            if kept is not None and not isinstance(finding, Booked):
                finding = kept
            if isinstance(finding, Booked):
                return await self._fetch_documents(request, finding, deadline=deadline)
        if isinstance(finding, Accepted):
            return replace(finding, check_at=self._next_look_up(request))
        return finding

    async def read_callback(self, request: Request, callback: Callback) -> Answer:
        """Read `{"status", "result"?, "error"?}`; a signature must be right where there is one."""
        self._check_signature(callback)
        body = callback.body
        news = await _aside(body, partial(read_news, body, kind=request.kind))
        if isinstance(news, Ended):
            return news
        if isinstance(news, Accepted):
            return replace(news, check_at=self._first_look_up())
        http_documents.check(news)
        now = self.clock()
        if http_documents.are_at_hand(news):
            return news.end(await http_documents.collect(self._exchange, news, deadline=0))
        return http_documents.keep(request, news, now=now, check_at=now)

    async def check(self) -> Sequence[str]:
        """Connect without sending anything; look up a key that cannot be known."""
        try:
            await probe(
                self._settings.url,
                allow_private=self.allow_private,
                timeout_seconds=CHECK_SECONDS,
            )
        except AddressNotAllowed as error:
            raise ProviderError(error.message, permanent=True) from error
        except OSError as error:
            raise ProviderError(f"{self._url.host} cannot be reached: {error}") from error
        remarks = []
        if self._settings.policy is Policy.NEITHER:
            remarks.append("Policy 'neither': an item whose answer is lost waits for a person.")
        if self._signer is None:
            remarks.append("No secret: requests carry no signature.")
        if self._settings.result_url is not None:
            remarks += await self._check_look_up()
        return remarks

    async def close(self) -> None:
        """Let what is out come in, take nothing new, then hang up."""
        await self._in_flight.come_in()
        await self._client.aclose()

    async def _look_up(self, request: Request, *, deadline: float) -> Finding | Booked:
        if self._settings.result_url is None:
            return Lost(code="not_askable", message=f"{self.name} cannot be asked.")
        try:
            reply = await self._exchange.carry(
                "GET",
                self._look_up_url(request.key),
                headers=self._signed(request.key, b""),
                deadline=deadline,
            )
        except (NotSent, AnswerLost) as error:
            return Lost(code=error.code, message=error.message)
        return await _aside(reply.body, partial(read_finding, reply, kind=request.kind))

    async def _fetch_documents(
        self, request: Request, booked: Booked, *, deadline: float
    ) -> Ended | Accepted | Lost:
        try:
            http_documents.check(booked)
            return booked.end(
                await http_documents.collect(self._exchange, booked, deadline=deadline)
            )
        except InvalidRequest as error:
            return Lost(code="answer_unreadable", message=error.message)
        except ProviderError:
            return http_documents.keep_on(request, booked, now=self.clock())

    async def _check_look_up(self) -> list[str]:
        key = f"{uuid4()}.1"
        deadline = asyncio.get_running_loop().time() + CHECK_SECONDS
        try:
            reply = await self._exchange.carry(
                "GET", self._look_up_url(key), headers=self._signed(key, b""), deadline=deadline
            )
        except (NotSent, AnswerLost) as error:
            return [f"The result URL cannot be asked: {error.message}"]
        if reply.status == 404:
            return []
        return [f"The result URL answers {reply.status} to a key it never received; 404 is right."]

    def _body(self, request: Request) -> bytes:
        content: dict[str, object] = {
            "item": str(request.item_id),
            "batch": str(request.batch_id),
            "team": request.team,
            "kind": request.kind,
            "attempt": request.attempt,
            "payload": request.payload,
            "callback_url": self.callback_address(request),
        }
        if request.number is not None:
            content["number"] = request.number
        if request.from_number is not None:
            content["from_number"] = request.from_number
        # Not orjson: a payload may hold integers of any size.
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()

    def _signed(self, key: str, body: bytes) -> dict[str, str]:
        headers = {"User-Agent": f"batchyard/{__version__}", "Accept": "application/json"}
        if self._signer is None:
            return headers
        at = self.clock()
        return headers | {
            "Webhook-Id": key,
            "Webhook-Timestamp": str(int(at.timestamp())),
            "Webhook-Signature": self._signer.sign(key, at, body.decode()),
        }

    def _check_signature(self, callback: Callback) -> None:
        if self._signer is None or SIGNATURE_HEADER not in callback.headers:
            return
        try:
            self._signer.verify(callback.body, dict(callback.headers), json_parse=False)
        except (WebhookVerificationError, ValueError) as error:
            raise Forbidden("The callback's signature is wrong.") from error

    def _look_up_url(self, key: str) -> httpx.URL:
        base = httpx.URL(self._settings.result_url or "")
        return base.copy_with(path=f"{base.path.rstrip('/')}/{key}")

    def _first_look_up(self) -> datetime | None:
        if not self._promise.is_askable:
            return None
        return self.clock() + timedelta(seconds=self._settings.look_up_after_seconds)

    def _next_look_up(self, request: Request) -> datetime:
        now = self.clock()
        least = min(LOOK_UP_PAUSE, timedelta(seconds=self._settings.look_up_after_seconds))
        return now + min(max((now - request.sent_at) / 2, least), LONGEST_LOOK_UP_PAUSE)


async def _aside(body: bytes, read: Callable[[], T]) -> T:
    """Read a large body in a thread, so that the event loop goes on."""
    return await asyncio.to_thread(read) if len(body) > LARGE_BODY_BYTES else read()
