"""How a provider is asked about a key whose answer is missing, and when its "no" is believed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

ASK_PATIENCE = timedelta(minutes=10)
"""So long an undecided item is asked for before it is declared unknown, unless its provider says
otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """Where the asking about one key stands."""

    intent_at: datetime
    arrives_until: datetime
    """From here on the request can no longer arrive."""
    patience: timedelta = ASK_PATIENCE
    looks: Sequence[timedelta] = ()
    """So long after the intent the provider must not know the key, each time, to be believed."""
    empty_looks: int = 0
    """How many of them came to nothing so far."""

    def after_empty(self, now: datetime) -> "NextLook | None":
        """Return the look to take after one that found nothing; None: the absence is believed.

        A look before its time does not count. Late ones keep their distance from each other, so
        that a worker that was away for an hour does not take three within a second.
        """
        if not self.looks or self.empty_looks >= len(self.looks):
            return None
        due_at = max(self.intent_at + self.looks[self.empty_looks], self.arrives_until)
        if now < due_at:
            return NextLook(at=due_at, empty_looks=self.empty_looks)
        taken = self.empty_looks + 1
        if taken == len(self.looks):
            return None
        distance = self.looks[taken] - self.looks[taken - 1]
        return NextLook(
            at=max(self.intent_at + self.looks[taken], now + distance), empty_looks=taken
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class NextLook:
    """When to look again, and how many looks came to nothing by then."""

    at: datetime
    empty_looks: int
