"""The sandbox: a provider that does nothing outside and is open about it.

It keeps no state: `fate` decides everything from the request, and `ask` reads from it what is true
by now. Timers only bring the news sooner than asking would, so a restart loses nothing.
"""

import asyncio
import math
from dataclasses import replace
from datetime import timedelta

from batchyard.errors import ConfigError
from batchyard.models import (
    Accepted,
    Answer,
    Document,
    Ended,
    Finding,
    Kind,
    Lost,
    NotReceived,
    Policy,
    Refused,
    Request,
)
from batchyard.providers.base import Promise, Provider, Surroundings
from batchyard.providers.labels import render_label
from batchyard.providers.sandbox_calls import call_fate
from batchyard.providers.sandbox_fate import Fate, Manner
from batchyard.providers.sandbox_shipments import labels, shipment_fate
from batchyard.providers.zpl_labels import render_zpl

PROMISE = Promise(
    policy=Policy.ASKABLE,
    is_askable=True,
    timeout=timedelta(seconds=2),
    ask_settles_after=timedelta(0),
)

CHECK_SLACK = timedelta(seconds=3)
"""How long after its end a live item is looked up if no callback came."""

REFUSED_SECONDS = 2.0
"""What a 429 asks to wait, at speed 1."""


def fate(request: Request, seed: str) -> Fate:
    """Return what becomes of a request; the same for the same key, input and seed."""
    if request.kind is Kind.CALL:
        return call_fate(request, seed=seed)
    return shipment_fate(request, seed=seed)


class SandboxProvider(Provider):
    """Calls and bookings that happen on paper only; settings `speed` and `seed`."""

    kinds = frozenset(Kind)
    ends_calls = True

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._speed = _speed(self.settings.get("speed", 1))
        self._seed = str(self.settings.get("seed", ""))
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # One label at a time: more threads would only take turns with the event loop.
        self._printer = asyncio.Semaphore(1)

    @property
    def promise(self) -> Promise:
        """Askable: it always knows what became of a key."""
        return PROMISE

    async def send(self, request: Request) -> Answer:
        """Begin the fate of the request, unless the tables say otherwise."""
        decided = fate(request, self._seed)
        if not decided.is_received(delivery=request.delivery):
            return self._not_taken(decided)
        self._hurry(request, decided, step=0)
        if decided.manner is Manner.ANSWER_LOST:
            return Lost(code="sandbox_answer_lost", message="The answer did not arrive.")
        return self._accepted(request, decided, status=decided.events[0].status)

    async def ask(self, request: Request) -> Finding:
        """Tell what is true of the request by now."""
        decided = fate(request, self._seed)
        if not decided.is_received(delivery=request.delivery):
            return NotReceived()
        elapsed = self._elapsed_seconds(request)
        if elapsed >= decided.ends_after_seconds:
            return await self._with_documents(request, decided.ending)
        return self._accepted(request, decided, status=decided.status_at(elapsed))

    async def end(self, request: Request) -> Answer:
        """Hang up on paper; what its timers still bring is too late."""
        ending = fate(request, self._seed).ending
        said = {"hangup_by": "operator", "hangup_reason": "ended_by_operator"}
        return Ended(status="stopped", result=said, reference=ending.reference)

    async def close(self) -> None:
        """Cancel the timers; asking finds everything they would have told."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _not_taken(self, decided: Fate) -> Refused | Lost:
        if decided.manner is Manner.REFUSED_FIRST:
            return Refused(
                code="sandbox_rate_limited",
                message="Too many requests (429).",
                retry_after_seconds=self._lasting(REFUSED_SECONDS).total_seconds(),
            )
        return Lost(code="sandbox_request_lost", message="No answer within the timeout.")

    def _accepted(self, request: Request, decided: Fate, *, status: str) -> Accepted:
        ends_at = request.sent_at + self._lasting(decided.ends_after_seconds)
        return Accepted(
            reference=decided.ending.reference, status=status, check_at=ends_at + CHECK_SLACK
        )

    def _hurry(self, request: Request, decided: Fate, *, step: int) -> None:
        """Set the timer of the next callback; each sets the one after it, so order holds."""
        if previous := self._timers.pop(request.key, None):
            previous.cancel()
        callbacks = decided.callbacks()
        if step < len(callbacks):
            due_at = request.sent_at + self._lasting(callbacks[step].after_seconds)
            delay = max(0.0, (due_at - self.clock()).total_seconds())
            self._timers[request.key] = asyncio.get_running_loop().call_later(
                delay, self._tell, request, decided, step
            )

    def _tell(self, request: Request, decided: Fate, step: int) -> None:
        news = decided.callbacks()[step].news
        if isinstance(news, Ended) and _has_documents(request, news):
            task = asyncio.get_running_loop().create_task(
                self._tell_with_documents(request, decided, news, step)
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        self._hurry(request, decided, step=step + 1)
        self.report(request.key, news)

    async def _tell_with_documents(
        self, request: Request, decided: Fate, ending: Ended, step: int
    ) -> None:
        complete = await self._with_documents(request, ending)
        self._hurry(request, decided, step=step + 1)
        self.report(request.key, complete)

    async def _with_documents(self, request: Request, ending: Ended) -> Ended:
        if not _has_documents(request, ending):
            return ending
        async with self._printer:
            documents = await asyncio.to_thread(print_labels, request)
        return replace(ending, documents=documents)

    def _elapsed_seconds(self, request: Request) -> float:
        if self._speed == 0:
            return math.inf
        return (self.clock() - request.sent_at).total_seconds() * self._speed

    def _lasting(self, seconds: float) -> timedelta:
        """Return how long something of so many lifelike seconds takes here."""
        return timedelta(seconds=seconds / self._speed if self._speed else 0)


def print_labels(request: Request) -> tuple[Document, ...]:
    """Make the label of each parcel, as PDF and ZPL; costs about a millisecond each."""
    return tuple(
        document
        for label in labels(request)
        for document in (
            Document(kind="label", format="pdf", content=render_label(label), parcel=label.parcel),
            Document(kind="label", format="zpl", content=render_zpl(label), parcel=label.parcel),
        )
    )


def _has_documents(request: Request, ending: Ended) -> bool:
    return request.kind is Kind.SHIPMENT and ending.status == "booked"


def _speed(value: object) -> float:
    try:
        speed = float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        speed = math.nan
    if not (math.isfinite(speed) and speed >= 0):
        raise ConfigError(f"The sandbox's speed must be a number from 0 up, not {value!r}.")
    return speed
