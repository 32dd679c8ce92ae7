"""What becomes of a request in the sandbox, and how the sandbox tells it; pure."""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from random import Random
from typing import Generic, TypeVar

from batchyard.models import Ended, Progress

Outcome = TypeVar("Outcome", bound=StrEnum)

REPEATED_AFTER_SECONDS = 5.0
"""Between the end and late news, and between late news and the repeated end."""


class Manner(StrEnum):
    """How the sandbox answers and calls back."""

    PLAIN = "plain"
    REFUSED_FIRST = "refused first"
    """The first delivery gets 429."""
    ANSWER_LOST = "answer lost"
    """Received, but neither the answer nor a callback arrives; asking finds it."""
    LOST_FIRST = "request lost first"
    """The first delivery never arrives, and its sender cannot know."""
    TWICE_AND_LATE = "twice and late"
    """After the end come an old live status and the end once more."""
    SILENT = "silent"
    """Accepted, but no callback ever comes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A live item reaches a status."""

    after_seconds: float
    """At speed 1, from the moment the request was sent."""
    status: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Callback:
    """News the sandbox tells by itself."""

    after_seconds: float
    news: Progress | Ended


@dataclass(frozen=True, kw_only=True, slots=True)
class Fate:
    """Everything that will happen to one request, times at speed 1."""

    events: tuple[Event, ...]
    """In order; the first is at 0."""
    ends_after_seconds: float
    ending: Ended
    """Without documents; they are made when it is told."""
    manner: Manner = Manner.PLAIN

    def status_at(self, elapsed_seconds: float) -> str:
        """Return the live status reached so far."""
        reached = [e.status for e in self.events if e.after_seconds <= elapsed_seconds]
        return reached[-1] if reached else self.events[0].status

    def is_received(self, *, delivery: int) -> bool:
        """Tell whether this delivery of the request reaches the sandbox and is taken."""
        first_fails = self.manner in {Manner.REFUSED_FIRST, Manner.LOST_FIRST}
        return delivery > 1 or not first_fails

    def callbacks(self) -> tuple[Callback, ...]:
        """Return what is told unasked, in order; the first status is in the answer already."""
        if self.manner in {Manner.ANSWER_LOST, Manner.SILENT}:
            return ()
        end = Callback(after_seconds=self.ends_after_seconds, news=self.ending)
        told = tuple(
            Callback(
                after_seconds=event.after_seconds,
                news=Progress(status=event.status, reference=self.ending.reference),
            )
            for event in self.events[1:]
        )
        if self.manner is not Manner.TWICE_AND_LATE:
            return (*told, end)
        late = Progress(status=self._late_status(), reference=self.ending.reference)
        return (
            *told,
            end,
            Callback(after_seconds=end.after_seconds + REPEATED_AFTER_SECONDS, news=late),
            Callback(after_seconds=end.after_seconds + 2 * REPEATED_AFTER_SECONDS, news=end.news),
        )

    def _late_status(self) -> str:
        return self.events[min(1, len(self.events) - 1)].status


@dataclass(frozen=True, kw_only=True, slots=True)
class Special(Generic[Outcome]):
    """A row of the tables that force an outcome."""

    outcome: Outcome
    manner: Manner = Manner.PLAIN
    first_outcome: Outcome | None = None
    """What the first attempt meets, where that differs."""

    def outcome_of(self, attempt: int) -> Outcome:
        """Return what this attempt, counted from 1, comes to."""
        return self.first_outcome if self.first_outcome and attempt == 1 else self.outcome


def dice(*parts: object) -> Random:
    """Return a source of chance that is the same for the same parts."""
    text = "|".join(str(part) for part in parts)
    return Random(text)  # noqa: S311  # must be repeatable, guards nothing


def reference(key: str) -> str:
    """Return the sandbox's own name of a request."""
    return f"sandbox-{sha256(key.encode()).hexdigest()[:20]}"
