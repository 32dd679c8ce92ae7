"""What is known, or guessed, of attempts that were not made: from the sandbox, from the past."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from uuid import UUID

import orjson

from batchyard.lifecycle import SEND_WITHIN, SUCCESS_STATUS
from batchyard.models import Kind, Request
from batchyard.providers.sandbox import CHECK_SLACK, PROMISE, REFUSED_SECONDS, fate
from batchyard.providers.sandbox_fate import Fate, Manner
from batchyard.rehearsal import Outcome
from batchyard.store.rehearsals import ObservedAttempt

ENGINE_SECONDS = 0.05
"""Between the end of an item and the next one in its place."""

_LOST_SECONDS = (SEND_WITHIN + PROMISE.timeout).total_seconds()
"""After so long a request without an answer is asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledItem:
    """An item that would be made of a row."""

    number: str | None
    payload: str | bytes
    """JSON as it is written: most plays need none of it, so it is read only then."""
    zones: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Assumptions:
    """What somebody says about a provider that was never used."""

    duration_seconds: float | None = None
    failure_rate: float | None = None
    price_minor: float | None = None
    currency: str | None = None


USUAL_SECONDS = {Kind.CALL: 60.0, Kind.SHIPMENT: 2.0}
USUAL_FAILURE_RATE = {Kind.CALL: 0.25, Kind.SHIPMENT: 0.02}
FAILURE_STATUS = {Kind.CALL: "no-answer", Kind.SHIPMENT: "failed"}


class SandboxOutlook:
    """The sandbox's own answers: it decides from the request alone."""

    def __init__(
        self, items: Sequence[SampledItem], *, kind: Kind, speed: float, seed: str
    ) -> None:
        self._items = items
        self._kind = kind
        self._speed = speed
        self._seed = seed

    def outcome(self, item: int, attempt: int) -> Outcome:
        """Return what the sandbox would answer."""
        decided = fate(self._request(item, attempt), self._seed)
        ending = decided.ending
        cost = ending.result.get("cost_minor", ending.result.get("price_minor", 0))
        currency = ending.result.get("currency")
        refused = decided.manner is Manner.REFUSED_FIRST
        return Outcome(
            status=ending.status,
            busy_seconds=self._busy_seconds(decided) + ENGINE_SECONDS,
            cost_minor=float(cost) if isinstance(cost, int | float) else 0,
            currency=currency if isinstance(currency, str) else None,
            by_voicemail=ending.result.get("answered_by_voice_mail") is True,
            refused_seconds=self._lasting(REFUSED_SECONDS) if refused else None,
        )

    def _busy_seconds(self, decided: Fate) -> float:
        ends_after = self._lasting(decided.ends_after_seconds)
        match decided.manner:
            case Manner.ANSWER_LOST:
                return max(ends_after, _LOST_SECONDS)
            case Manner.LOST_FIRST:
                return _LOST_SECONDS + ends_after
            case Manner.SILENT:
                return ends_after + CHECK_SLACK.total_seconds()
            case _:
                return ends_after

    def _lasting(self, seconds: float) -> float:
        return seconds / self._speed if self._speed else 0.0

    def _request(self, item: int, attempt: int) -> Request:
        sampled = self._items[item]
        nobody = UUID(int=item)
        return Request(
            key=f"rehearsal-{item}.{attempt}",
            item_id=nobody,
            batch_id=nobody,
            team="",
            kind=self._kind,
            attempt=attempt,
            delivery=1,
            sent_at=datetime.min.replace(tzinfo=UTC),
            payload=orjson.loads(sampled.payload),
            number=sampled.number,
        )


class DrawnOutlook:
    """Outcomes drawn from what was observed, or from what is assumed."""

    def __init__(self, draw: Callable[[Random], Outcome], *, die: int) -> None:
        self._draw = draw
        self._die = die

    def outcome(self, item: int, attempt: int) -> Outcome:
        """Draw what becomes of an attempt; the same for the same die."""
        return self._draw(Random(f"{self._die}.{item}.{attempt}"))  # noqa: S311  # no secret


def draw_observed(observed: Sequence[ObservedAttempt]) -> Callable[[Random], Outcome]:
    """Return what draws from attempts of the past."""
    outcomes = [
        Outcome(
            status=one.status,
            busy_seconds=max(0.0, one.seconds) + ENGINE_SECONDS,
            cost_minor=one.cost_minor,
            currency=one.currency,
            by_voicemail=one.by_voicemail,
        )
        for one in observed
    ]
    return lambda die: die.choice(outcomes)


def draw_assumed(assumptions: Assumptions, *, kind: Kind) -> Callable[[Random], Outcome]:
    """Return what draws from assumptions; durations spread by half around the mean."""
    mean = assumptions.duration_seconds
    rate = assumptions.failure_rate
    mean = USUAL_SECONDS[kind] if mean is None else mean
    rate = USUAL_FAILURE_RATE[kind] if rate is None else rate

    def draw(die: Random) -> Outcome:
        has_failed = die.random() < rate
        return Outcome(
            status=FAILURE_STATUS[kind] if has_failed else SUCCESS_STATUS[kind],
            busy_seconds=mean * die.uniform(0.5, 1.5) + ENGINE_SECONDS,
            cost_minor=0 if has_failed else assumptions.price_minor or 0,
            currency=assumptions.currency if assumptions.price_minor else None,
        )

    return draw


def sandbox_settings(
    settings: Mapping[str, object], *, speed: float, seed: str
) -> tuple[float, str]:
    """Return speed and seed of a sandbox: its own, else those of the installation."""
    own = settings.get("speed", speed)
    return (
        float(own) if isinstance(own, int | float | str) else speed,
        str(settings.get("seed", seed)),
    )
