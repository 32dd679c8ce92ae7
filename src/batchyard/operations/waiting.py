"""Why nothing is happening: derived from the rules that hold something back, never guessed."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from batchyard.errors import NotFound
from batchyard.lifecycle import ADMITTING_STATES, ENDED_STATES
from batchyard.models import BatchState, Phase, Team
from batchyard.operations.transactions import Transactions
from batchyard.store import waits
from batchyard.store.db import Connection
from batchyard.store.waits import BatchWait

ALIVE_WITHIN = timedelta(seconds=10)

NOTED_AGAIN_AFTER = timedelta(seconds=5)
"""A reason that holds on is dated anew after so long, by whichever admission finds it then."""

BELIEVED_FOR = timedelta(seconds=20)
"""An older reason no admission has found lately, although each team with due items has its turn
every few seconds: they come to other batches first, or there is no slot."""

REASONS = {
    "not_dispatched": "The batch was not started yet.",
    "scheduled": "The batch starts at its scheduled time.",
    "paused": "Somebody paused the batch; resume it to go on.",
    "brake": "Too much of the batch failed, so it paused itself; resume it to go on.",
    "restored": "The database came from a backup; check, then resume the batch.",
    "no_worker": "No worker is alive; start one with `batchyard worker` or `batchyard up`.",
    "team_cap": "The team has as many items in flight as it may.",
    "provider_cap": "The provider has as many items in flight as it may.",
    "agent_cap": "The agent has as many calls in flight as it may.",
    "batch_cap": "The batch has as many items in flight as it may.",
    "team_rate": "The team's rate is used up for the moment.",
    "provider_rate": "The provider's rate is used up for the moment.",
    "agent_rate": "The agent's rate is used up for the moment.",
    "batch_rate": "The batch's rate is used up for the moment.",
    "retry_after": "The provider asked everyone to wait.",
    "provider_unusable": "The routed provider cannot be opened; `batchyard doctor` says why.",
    "provider_paused": "The provider is paused; `batchyard provider list` says why.",
    "earlier_batch": "Another batch of the team is served first.",
    "no_slot": "The workers have no free slot for it; it goes on when one is free.",
    "window": "Outside the calling window; the call moves to its next opening.",
    "window_invalid": "The agent's calling_guardrails make no window; correct the agent.",
    "retry": "The next attempt is due later.",
    "same_number": "Another call to this number is undecided; two could not be told apart.",
    "earlier_items": "Its turn comes after items before it.",
    "answer": "It was sent; its provider has not told the end yet.",
    "person": "Nobody could find out what became of it; a person has to decide.",
}
"""Every reason, with the sentence that people read."""

PAUSED_BY = "{by} paused the batch; resume it to go on."
"""Said of a paused batch where it is known who did it."""

OF_WHOLE_BATCH = frozenset(
    {"not_dispatched", "scheduled", "paused", "brake", "restored", "no_worker"}
)
"""Reasons that hold every item of a batch, also one that is due later anyway."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """A reason, and until when it holds if time alone ends it."""

    reason: str
    until: datetime | None = None
    by: str | None = None
    """Who wants it so, where that is known."""
    error: str | None = None
    """Of a batch that waits for another try: what its next item met last, code and words."""

    @property
    def text(self) -> str:
        """The sentence before `by` is filled in, as translations know it."""
        return REASONS[self.reason] if self.by is None else PAUSED_BY

    @property
    def sentence(self) -> str:
        """What a person reads."""
        return self.text.format(by=self.by)


async def explain_batch(db: Transactions, *, team: Team, batch_id: UUID) -> Waiting | None:
    """Tell why a batch waits; None when nothing holds it. Raises `NotFound`."""
    async with db.transaction() as conn:
        now = db.clock()
        return _explain(await _read_batch(conn, team, batch_id, now), now)


async def explain_item(db: Transactions, *, team: Team, item_id: UUID) -> Waiting | None:
    """Tell why an item waits; None when it has ended, or ends with its batch. Raises `NotFound`."""
    async with db.transaction() as conn:
        item = await waits.read_item(conn, team_id=team.id, item_id=item_id)
        if item is None:
            raise NotFound("There is no such item.")
        match item.phase:
            case Phase.DONE:
                return None
            case Phase.UNKNOWN:
                return Waiting(reason="person")
            case Phase.CALLING | Phase.LIVE:
                return Waiting(reason="answer", until=item.deadline_at)
            case _:
                now = db.clock()
                batch = await _read_batch(conn, team, item.batch_id, now)
                if batch.state in ENDED_STATES:
                    return None
                whole = _explain(batch, now)
                if item.due_at > now and not _outlasts(whole, item.due_at):
                    return _later(item.status, item.due_at, is_held=item.is_held)
                return whole or Waiting(reason="earlier_items")


async def _read_batch(conn: Connection, team: Team, batch_id: UUID, now: datetime) -> BatchWait:
    batch = await waits.read_batch(
        conn,
        team_id=team.id,
        batch_id=batch_id,
        alive_since=now - ALIVE_WITHIN,
        served_before=now - NOTED_AGAIN_AFTER,
        now=now,
    )
    if batch is None:
        raise NotFound("There is no such batch.")
    return batch


def _explain(batch: BatchWait, now: datetime) -> Waiting | None:
    match batch.state:
        case BatchState.OPEN | BatchState.IMPORTING:
            return Waiting(reason="not_dispatched")
        case BatchState.SCHEDULED:
            return Waiting(reason="scheduled", until=batch.scheduled_at)
        case BatchState.PAUSED:
            reason = batch.wait_reason or "paused"
            return Waiting(reason=reason, by=batch.paused_by if reason == "paused" else None)
    if batch.state not in ADMITTING_STATES or batch.next_due_at is None:
        return None
    if batch.alive_workers == 0:
        return Waiting(reason="no_worker")
    if batch.next_due_at > now:
        later = _later(batch.next_status, batch.next_due_at, is_held=batch.is_next_held is True)
        return replace(later, error=batch.next_error) if later.reason == "retry" else later
    if batch.wait_reason is not None and is_believed(batch.wait_noted_at, now):
        # Of a time that has just passed the next admission knows more.
        is_ahead = batch.wait_until is not None and batch.wait_until > now
        return Waiting(reason=batch.wait_reason, until=batch.wait_until if is_ahead else None)
    return _explain_unseen(batch, is_long_due=batch.next_due_at < now - NOTED_AGAIN_AFTER)


def _explain_unseen(batch: BatchWait, *, is_long_due: bool) -> Waiting | None:
    """Tell why nothing of a batch is let in that no admission says anything about."""
    if batch.is_behind:
        return Waiting(reason="earlier_batch")
    return Waiting(reason="no_slot") if batch.is_unserved and is_long_due else None


def is_believed(noted_at: datetime | None, now: datetime) -> bool:
    """Tell whether a reason that admission noted then still counts."""
    return noted_at is not None and now - noted_at < BELIEVED_FOR


def _outlasts(whole: Waiting | None, due_at: datetime) -> bool:
    """Tell whether what holds a batch still holds an item of it once that falls due."""
    if whole is None:
        return False
    return whole.reason in OF_WHOLE_BATCH or (whole.until is not None and whole.until > due_at)


def _later(status: str | None, due_at: datetime, *, is_held: bool) -> Waiting:
    if status == "rescheduled":
        return Waiting(reason="window", until=due_at)
    return Waiting(reason="same_number" if is_held else "retry", until=due_at)
