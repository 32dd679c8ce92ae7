"""Which state follows which, for batches and items; pure, drawn in `docs/lifecycle.md`."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from batchyard import retry
from batchyard.asking import Asking
from batchyard.errors import Conflict
from batchyard.models import (
    Accepted,
    Answer,
    BatchState,
    Ended,
    Finding,
    Kind,
    NotReceived,
    Phase,
    Policy,
    Progress,
    Refused,
    RetryPolicy,
)


class BatchEvent(StrEnum):
    """What can happen to a batch."""

    OPENED = "opened"
    IMPORT_FAILED = "import_failed"
    SCHEDULED = "scheduled"
    UNSCHEDULED = "unscheduled"
    DISPATCHED = "dispatched"
    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    FAILED = "failed"
    REOPENED = "reopened"


S, E = BatchState, BatchEvent

BATCH_TRANSITIONS: dict[tuple[BatchState, BatchEvent], BatchState] = {
    (S.IMPORTING, E.OPENED): S.OPEN,
    (S.IMPORTING, E.IMPORT_FAILED): S.FAILED,
    (S.OPEN, E.SCHEDULED): S.SCHEDULED,
    (S.OPEN, E.DISPATCHED): S.QUEUED,
    (S.OPEN, E.CANCELLED): S.CANCELLED,
    (S.SCHEDULED, E.SCHEDULED): S.SCHEDULED,
    (S.SCHEDULED, E.UNSCHEDULED): S.OPEN,
    (S.SCHEDULED, E.DISPATCHED): S.QUEUED,
    (S.SCHEDULED, E.STOPPED): S.STOPPED,
    (S.QUEUED, E.STARTED): S.RUNNING,
    (S.QUEUED, E.PAUSED): S.PAUSED,
    (S.QUEUED, E.STOPPED): S.STOPPED,
    (S.RUNNING, E.PAUSED): S.PAUSED,
    (S.RUNNING, E.STOPPED): S.STOPPED,
    (S.RUNNING, E.COMPLETED): S.COMPLETED,
    (S.RUNNING, E.FAILED): S.FAILED,
    (S.PAUSED, E.RESUMED): S.RUNNING,
    (S.PAUSED, E.STOPPED): S.STOPPED,
    (S.COMPLETED, E.REOPENED): S.RUNNING,
    (S.FAILED, E.REOPENED): S.RUNNING,
    (S.STOPPED, E.REOPENED): S.RUNNING,
}

ADMITTING_STATES = (BatchState.QUEUED, BatchState.RUNNING)
"""The states in which a batch's items may be sent."""

ENDED_STATES = (
    BatchState.STOPPED,
    BatchState.COMPLETED,
    BatchState.FAILED,
    BatchState.CANCELLED,
)
"""The states of a batch that is over unless a person opens it again."""

WAITING_STATUSES = ("waiting", "rescheduled", "retrying")
"""Statuses of items that are ready or claimed."""

SENDING_STATUS = "sending"
UNKNOWN_STATUS = "unknown"
STOPPED_STATUS = "stopped"
CANCELED_STATUS = "canceled"

LIVE_STATUSES: dict[Kind, tuple[str, ...]] = {
    Kind.CALL: ("initiated", "ringing", "in-progress", "call-disconnected"),
    Kind.SHIPMENT: ("processing",),
}
"""Statuses of live items in the order a provider goes through them."""

LIVE_ORDER = tuple(word for words in LIVE_STATUSES.values() for word in words)
"""All live statuses; `Change.live_rank` counts in it from 1."""

ENDED_STATUSES: dict[Kind, tuple[str, ...]] = {
    Kind.CALL: (
        "completed",
        "no-answer",
        "busy",
        "failed",
        "error",
        CANCELED_STATUS,
        STOPPED_STATUS,
        "balance-low",
    ),
    Kind.SHIPMENT: ("booked", "failed", CANCELED_STATUS, STOPPED_STATUS),
}

FAILURE_STATUSES = frozenset({"failed", "error"})
"""Ended statuses that speak against the provider or the batch, unlike a busy line."""

SUCCESS_STATUS: dict[Kind, str] = {Kind.CALL: "completed", Kind.SHIPMENT: "booked"}

STATUSES_BY_PHASE: dict[Phase, frozenset[str]] = {
    Phase.READY: frozenset(WAITING_STATUSES),
    Phase.CLAIMED: frozenset(WAITING_STATUSES),
    Phase.CALLING: frozenset({SENDING_STATUS}),
    Phase.LIVE: frozenset(word for words in LIVE_STATUSES.values() for word in words),
    Phase.UNKNOWN: frozenset({UNKNOWN_STATUS}),
    Phase.DONE: frozenset(word for words in ENDED_STATUSES.values() for word in words),
}
"""Held by a CHECK constraint; a test compares the two."""

ITEM_TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    # What may have been sent after the backup that the database comes from is unknown.
    Phase.READY: frozenset({Phase.CLAIMED, Phase.CALLING, Phase.UNKNOWN, Phase.DONE}),
    Phase.CLAIMED: frozenset({Phase.READY, Phase.CALLING, Phase.UNKNOWN, Phase.DONE}),
    Phase.CALLING: frozenset({Phase.LIVE, Phase.DONE, Phase.READY, Phase.UNKNOWN}),
    Phase.LIVE: frozenset({Phase.LIVE, Phase.DONE, Phase.READY, Phase.UNKNOWN}),
    Phase.UNKNOWN: frozenset({Phase.LIVE, Phase.DONE, Phase.READY}),
    Phase.DONE: frozenset({Phase.READY}),
}

IN_FLIGHT_PHASES = (Phase.CLAIMED, Phase.CALLING, Phase.LIVE)
"""Phases that count against concurrency caps."""

SENT_PHASES = (Phase.CALLING, Phase.LIVE, Phase.UNKNOWN)
"""Phases in which an answer to the item's key is believed."""


def next_batch_state(state: BatchState, event: BatchEvent) -> BatchState:
    """Return the state after `event`; raise `Conflict` where the table has none."""
    try:
        return BATCH_TRANSITIONS[state, event]
    except KeyError:
        raise Conflict(
            f"A batch that is {state} cannot be {event.replace('_', ' ')}.", state=state
        ) from None


def states_allowing(event: BatchEvent) -> tuple[BatchState, ...]:
    """Return every state that has a transition for `event`."""
    return tuple(state for state, known in BATCH_TRANSITIONS if known is event)


def final_batch_event(kind: Kind, *, succeeded: int) -> BatchEvent:
    """Return how a run ends: a shipment batch in which nothing was booked has failed."""
    if kind is Kind.SHIPMENT and succeeded == 0:
        return BatchEvent.FAILED
    return BatchEvent.COMPLETED


# Made for each answer; frozen it takes twice as long.
@dataclass(kw_only=True, slots=True)
class Change:
    """What an answer makes of a sent item; written only where `try` and phase still match."""

    phase: Phase
    status: str
    attempt: int
    """`try` after the change; one more than before only for a wanted retry."""
    due_at: datetime | None = None
    deadline_at: datetime | None = None
    from_phases: tuple[Phase, ...] = SENT_PHASES
    live_rank: int | None = None
    """A live item moves only to a higher rank, so late and doubled news changes nothing."""
    is_undecided: bool = False
    """Nothing was learned: the time of the last news stays."""
    undecided_since: datetime | None = None
    """The first of the looks in a row that decided nothing, where this was one."""
    empty_looks: int | None = None
    """How often an undecided key was looked for where it has to be found nothing several times."""


LIVE_CHECK = timedelta(hours=1)
"""When a live item is looked up if its provider named no time and sent no callback."""

REFUSED_DELAY = timedelta(seconds=1)
"""How long an item refused for the first time waits if the provider named no time."""

LONGEST_REFUSED_DELAY = timedelta(minutes=5)

BELIEVED_REPEATS = 10
"""So often a short time that the provider names is believed; each further one at least doubles."""


def delay_after_refusal(retry_after_seconds: float | None, *, repeats: int) -> timedelta:
    """Return how long a refused item waits: as the provider said, else twice as long each time.

    `repeats` is how often it was sent beyond once for each key. "At once" is believed only the
    first time and a short time not for ever, so that nobody is asked without a pause for ever.
    """
    if retry_after_seconds is None or (retry_after_seconds <= 0 < repeats):
        return _doubled(repeats)
    asked = timedelta(seconds=retry_after_seconds)
    if repeats <= BELIEVED_REPEATS:
        return asked
    return max(asked, _doubled(repeats - BELIEVED_REPEATS - 1))


def _doubled(times: int) -> timedelta:
    # More doublings would at last be more than a timedelta holds.
    return min(REFUSED_DELAY * (1 << min(max(times, 0), 16)), LONGEST_REFUSED_DELAY)


def change_for_answer(
    answer: Answer,
    *,
    kind: Kind,
    attempt: int,
    key: str,
    retry_policy: RetryPolicy,
    provider_policy: Policy,
    undecided_until: datetime,
    sends: int = 1,
    now: datetime,
) -> Change:
    """Decide what an answer to the item's current key makes of it.

    `undecided_until` is when a lost answer may be asked for: never before the request can no
    longer arrive. `sends` is how often the item was sent so far, under all its keys; only a
    refusal asks for it.
    """
    match answer:
        case Ended():
            due_at = retry.plan(
                retry_policy,
                status=answer.status,
                answered_by_voicemail=bool(answer.result.get("answered_by_voice_mail")),
                attempt=attempt,
                key=key,
                now=now,
            )
            if due_at is not None:
                return Change(
                    phase=Phase.READY, status="retrying", attempt=attempt + 1, due_at=due_at
                )
            return Change(phase=Phase.DONE, status=answer.status, attempt=attempt)
        case Accepted():
            status = answer.status or LIVE_STATUSES[kind][0]
            return _live(kind, status, attempt, answer.check_at or now + LIVE_CHECK)
        case Progress():
            return _live(kind, answer.status, attempt, now + LIVE_CHECK)
        case Refused():
            delay = delay_after_refusal(answer.retry_after_seconds, repeats=sends - attempt)
            return Change(
                phase=Phase.READY,
                status="waiting" if attempt == 1 else "retrying",
                attempt=attempt,
                due_at=now + delay,
                from_phases=(Phase.CALLING,),
            )
        case _:
            if provider_policy is Policy.NEITHER:
                return Change(
                    phase=Phase.UNKNOWN,
                    status=UNKNOWN_STATUS,
                    attempt=attempt,
                    from_phases=(Phase.CALLING, Phase.LIVE),
                )
            return Change(
                phase=Phase.CALLING,
                status=SENDING_STATUS,
                attempt=attempt,
                deadline_at=undecided_until,
                from_phases=(Phase.CALLING,),
            )


def _live(kind: Kind, status: str, attempt: int, check_at: datetime) -> Change:
    words = LIVE_STATUSES[kind]
    if status not in words:
        status = words[0]
    return Change(
        phase=Phase.LIVE,
        status=status,
        attempt=attempt,
        deadline_at=check_at,
        live_rank=LIVE_ORDER.index(status) + 1,
    )


SEND_WITHIN = timedelta(seconds=2)
"""A worker sends only so soon after issuing the intent, else it hands the item back."""

SAME_NUMBER_PAUSE = timedelta(seconds=2)
LONGEST_SAME_NUMBER_PAUSE = timedelta(minutes=1)


def due_after_same_number(*, held_since: datetime, now: datetime) -> datetime:
    """Return when an item is due that waits until another one to the same number is decided.

    The longer the other one has been undecided, the longer it may go on being so.
    """
    pause = max((now - held_since) / 2, SAME_NUMBER_PAUSE)
    return now + min(pause, LONGEST_SAME_NUMBER_PAUSE)


def change_for_finding(
    finding: Finding | Refused,
    *,
    kind: Kind,
    phase: Phase,
    status: str,
    attempt: int,
    key: str,
    retry_policy: RetryPolicy,
    undecided_since: datetime | None,
    can_be_asked_again: bool,
    asking: Asking,
    sends: int = 1,
    now: datetime,
) -> Change:
    """Decide what asking about an item, or repeating its key, makes of it.

    `Refused` and `NotReceived` say nothing about a request that went before, so the caller hands
    in `NotReceived` only when it is believed. `undecided_since` is the first of the looks in a row
    that decided nothing, None when the one before this was none: from there patience counts, so
    that a single look gives nothing up. `sends` is as in `change_for_answer`.
    """
    match finding:
        case Ended() | Accepted() | Progress():
            return change_for_answer(
                finding,
                kind=kind,
                attempt=attempt,
                key=key,
                retry_policy=retry_policy,
                provider_policy=Policy.ASKABLE,
                undecided_until=now,
                now=now,
            )
        case NotReceived() if phase is Phase.CALLING:
            if (look := asking.after_empty(now)) is not None:
                return Change(
                    phase=phase,
                    status=status,
                    attempt=attempt,
                    deadline_at=look.at,
                    from_phases=(phase,),
                    is_undecided=True,
                    empty_looks=look.empty_looks,
                )
            return Change(
                phase=Phase.READY,
                status="waiting" if attempt == 1 else "retrying",
                attempt=attempt,
                due_at=now,
                from_phases=(Phase.CALLING,),
            )
        case Refused():
            # Nothing was tried in vain: the provider is there, and says that it is not yet time.
            delay = delay_after_refusal(finding.retry_after_seconds, repeats=sends - attempt)
            again = _look_again(phase, status, attempt, now + delay)
            return replace(again, empty_looks=asking.empty_looks)
        case _:
            since = undecided_since or now
            if not can_be_asked_again or now - since > asking.patience:
                return Change(
                    phase=Phase.UNKNOWN,
                    status=UNKNOWN_STATUS,
                    attempt=attempt,
                    from_phases=(phase,),
                )
            again = _look_again(phase, status, attempt, now + _pause(since, now))
            return replace(again, empty_looks=asking.empty_looks, undecided_since=since)


def change_for_hold(
    *,
    phase: Phase,
    status: str,
    attempt: int,
    told_at: datetime,
    until: datetime | None,
    empty_looks: int,
    now: datetime,
) -> Change:
    """Leave an item alone that must not be sent again now, or whose provider lets nobody ask.

    Until then; where nobody knows, for longer the longer ago the item's last news is. Such time is
    not counted against it: nobody looked.
    """
    at = now + _pause(told_at, now) if until is None else until
    again = _look_again(phase, status, attempt, at)
    return replace(again, empty_looks=empty_looks)


def change_for_silence(*, status: str, attempt: int, until: datetime) -> Change:
    """Leave a live item alone whose provider brings the news by itself, and was heard of lately."""
    return _look_again(Phase.LIVE, status, attempt, until)


def _look_again(phase: Phase, status: str, attempt: int, at: datetime) -> Change:
    return Change(
        phase=phase,
        status=status,
        attempt=attempt,
        deadline_at=at,
        from_phases=(phase,),
        live_rank=LIVE_ORDER.index(status) + 1 if phase is Phase.LIVE else None,
        is_undecided=True,
    )


def _pause(since: datetime, now: datetime) -> timedelta:
    """Wait half as long again as it has been so: an exponential pace without a counter."""
    return min(max((now - since) / 2, timedelta(seconds=1)), timedelta(minutes=1))
