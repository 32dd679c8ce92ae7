"""What the items of one admission from one batch have in common, and what they intend."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from batchyard import lifecycle
from batchyard.engine.halts import Place
from batchyard.engine.hours import Hours
from batchyard.engine.screening import contact_of
from batchyard.engine.switchboard import Connected
from batchyard.models import JsonObject, Kind, Policy, RetryPolicy
from batchyard.providers.base import Provider
from batchyard.store.items import ClaimedItem, Intent
from batchyard.store.number_claims import NumberClaim
from batchyard.store.windows import ZoneSets


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """What the items of one admission from one batch have in common."""

    batch_id: UUID
    team_id: int
    team: str
    kind: Kind
    retry_policy: RetryPolicy
    line: Connected
    restored_at: datetime | None = None
    backup_at: datetime | None = None
    """Set after a restore: ask about a key before it is sent."""
    issued_at: float
    """`monotonic()` before the claim; dates the intent where the claim carries it."""
    known_at: float
    """`monotonic()` before it was seen that neither the batch nor the provider is paused."""
    hours: Hours | None = None
    """The calling window; None where there is none."""
    counted_zones: ZoneSets | None = None
    """Where the team limits attempts: the zones, for the recipient's day."""
    traceparent: str | None = None
    """The span of the request that let the batch run, where that was traced."""
    sender: JsonObject | None = None
    """Where the team sends its shipments from."""

    @property
    def provider(self) -> Provider:
        """Who does the items."""
        return self.line.provider

    @property
    def place(self) -> Place:
        """What a pause or a stop may halt."""
        return self.batch_id, self.line.provider_id

    @property
    def is_repeatable(self) -> bool:
        """Whether claiming an item may carry its intent: nothing is lost by a key never sent."""
        return self.provider.promise.policy is Policy.REPEATABLE

    def may_be_forgotten(self, ordered_at: datetime | None, *, now: datetime) -> bool:
        """Tell whether, after a restore, a key may be in use that its provider would not know.

        What a person ordered since then is sent: nothing would ever become of it else.
        """
        promise = self.provider.promise
        return (
            self.backup_at is not None
            and not self._is_ordered_since(ordered_at)
            and promise.policy is Policy.REPEATABLE
            and not promise.is_askable
            and promise.key_ttl is not None
            and now - self.backup_at + promise.timeout >= promise.key_ttl
        )

    def asks_first(self, ordered_at: datetime | None) -> bool:
        """Tell whether, after a restore, to ask about a key before it is sent.

        A person who ordered it looked at the key before it; this one may be in use all the same.
        But where asking never proves an absence, what a person ordered since then is sent: else it
        would wait for that person again and again.
        """
        promise = self.provider.promise
        if self.restored_at is None or not promise.is_askable:
            return False
        return promise.proves_absence or not self._is_ordered_since(ordered_at)

    def repeats(self, ordered_at: datetime | None) -> bool:
        """Tell whether, after a restore, a key is sent without knowing if it was before."""
        return (
            self.backup_at is not None
            and self.is_repeatable
            and not self.provider.promise.is_askable
            and not self._is_ordered_since(ordered_at)
        )

    def _is_ordered_since(self, ordered_at: datetime | None) -> bool:
        """Tell whether a person ordered a key after the restore."""
        if ordered_at is None or self.restored_at is None:
            return False
        return ordered_at > self.restored_at

    @property
    def settled_at(self) -> datetime:
        """When, after a restore, "not received" is believed."""
        since = self.restored_at or datetime.min.replace(tzinfo=UTC)
        return since + self.deadline + self.provider.promise.settles_after

    @property
    def deadline(self) -> timedelta:
        """How long after an intent a missing answer is asked for: never while it may arrive."""
        promise = self.provider.promise
        return max((lifecycle.SEND_WITHIN + promise.timeout, *promise.looks[:1]))


def intent_of(
    assignment: Assignment, item: ClaimedItem, now: datetime, deadline: timedelta
) -> Intent:
    """Return what is written before an item is sent; `deadline` is that of its assignment."""
    contact = contact_of(item, team_id=assignment.team_id, zones=assignment.counted_zones, now=now)
    return Intent(
        id=item.id,
        lease=item.lease,
        deadline=deadline,
        contact=contact,
        claim=_claim(assignment, item),
    )


def _claim(assignment: Assignment, item: ClaimedItem) -> NumberClaim | None:
    provider = assignment.provider
    if not provider.promise.is_exclusive_per_number or item.number is None:
        return None
    return NumberClaim(
        item_id=item.id,
        attempt=item.attempt,
        lease=item.lease,
        provider_id=assignment.line.provider_id,
        number=item.number,
        from_number=item.from_number or provider.caller or "",
    )
