"""Turns answers into rows for the books."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from batchyard.contact_rules import SENTENCES, Block
from batchyard.engine.merging import without_marks
from batchyard.engine.news import News
from batchyard.lifecycle import CANCELED_STATUS, FAILURE_STATUSES, SENT_PHASES, Change
from batchyard.models import (
    Accepted,
    Ended,
    JsonObject,
    Lost,
    NotReceived,
    Phase,
    Progress,
    Refused,
)
from batchyard.store.items import Settlement

LONGEST_SLOWDOWN = timedelta(hours=1)
"""However long a provider asks us to wait, nobody waits longer."""


LONGEST_CODE = 200
"""Of an error: an index holds it, and a filter takes no longer one."""


# Made for each answer; frozen it takes twice as long.
@dataclass(kw_only=True, slots=True)
class Sent:
    """A key somebody has an answer for."""

    id: UUID
    attempt: int
    key: str
    """The idempotency key of the intended effect."""
    provider: str | None
    sent_at: datetime | None


def news_of(
    sent: Sent,
    answer: Accepted | Progress | Ended | Refused | Lost | NotReceived,
    change: Change,
    *,
    lease: int | None,
    held_until: datetime | None = None,
    known: JsonObject | None = None,
    now: datetime,
) -> News:
    """Put an answer and what it makes of the item together.

    `lease` is given where only the holder of the claim may write: for everything that is not the
    key's own true answer. `held_until` is the deadline that a question was taken with, `known` the
    stored result that the answer goes on from.
    """
    settlement = Settlement(
        id=sent.id,
        attempt=sent.attempt,
        phase=change.phase,
        status=change.status,
        next_attempt=change.attempt,
    )
    if change.from_phases is not SENT_PHASES:
        settlement["from_phases"] = change.from_phases
    if sent.provider is not None:
        settlement["provider"] = sent.provider
    if lease is not None:
        settlement["lease"] = lease
    if isinstance(answer, Ended):
        settlement["entry"] = _entry(sent, answer, change, now=now)
    if isinstance(answer, (Ended, Accepted)) and answer.result is not None:
        settlement["result"] = answer.result
    if (reference := getattr(answer, "reference", None)) is not None:
        settlement["reference"] = reference
    code, message = _error(answer)
    if code is not None:
        settlement["error_code"] = code
    if message is not None:
        settlement["error_message"] = message
    if change.phase is not Phase.DONE:
        _add_waits(settlement, change, held_until=held_until)
    return News(
        documents=answer.documents if isinstance(answer, Ended) else (),
        known=known,
        is_failure=_is_failure(answer, change),
        is_opt_out=_is_opt_out(answer),
        settlement=settlement,
    )


def _add_waits(settlement: Settlement, change: Change, *, held_until: datetime | None) -> None:
    """Say what becomes of an item that has not ended, and when."""
    if held_until is not None:
        settlement["held_until"] = held_until
    if change.due_at is not None:
        settlement["due_at"] = change.due_at
    if change.deadline_at is not None:
        settlement["deadline_at"] = change.deadline_at
    if change.live_rank is not None:
        settlement["live_rank"] = change.live_rank
    if change.is_undecided:
        settlement["is_undecided"] = True
    if change.undecided_since is not None:
        settlement["undecided_since"] = change.undecided_since
    if change.empty_looks is not None:
        settlement["empty_looks"] = change.empty_looks


def slow_of(
    answer: Accepted | Progress | Ended | Refused | Lost | NotReceived,
    *,
    provider_id: int,
    now: datetime,
) -> tuple[int, datetime] | None:
    """Return until when a provider that was just sent something wants nothing from anybody."""
    if not isinstance(answer, Refused) or not answer.retry_after_seconds:
        return None
    return provider_id, now + min(timedelta(seconds=answer.retry_after_seconds), LONGEST_SLOWDOWN)


def hand_back(*, item_id: UUID, attempt: int, lease: int, status: str, due_at: datetime) -> News:
    """Return a claimed item that was certainly not sent; the same key stays good."""
    return News(
        settlement=Settlement(
            id=item_id,
            attempt=attempt,
            lease=lease,
            phase=Phase.READY,
            status=status,
            next_attempt=attempt,
            due_at=due_at,
            from_phases=(Phase.CLAIMED, Phase.CALLING),
        )
    )


def cancel(*, item_id: UUID, attempt: int, lease: int, block: Block) -> News:
    """End a claimed item that was certainly not sent, and must not be."""
    return News(
        settlement=Settlement(
            id=item_id,
            attempt=attempt,
            lease=lease,
            phase=Phase.DONE,
            status=CANCELED_STATUS,
            next_attempt=attempt,
            from_phases=(Phase.CLAIMED, Phase.CALLING),
            error_code=block,
            error_message=SENTENCES[block],
        )
    )


def _is_opt_out(answer: Accepted | Progress | Ended | Refused | Lost | NotReceived) -> bool:
    result = answer.result if isinstance(answer, Ended | Accepted) else None
    return result is not None and result.get("opt_out") is True


def _is_failure(
    answer: Accepted | Progress | Ended | Refused | Lost | NotReceived, change: Change
) -> bool | None:
    """Tell how an attempt went; a lost answer counts only once nobody looks for it any more."""
    match answer:
        case Ended():
            return answer.status in FAILURE_STATUSES
        case Lost() if change.phase is Phase.UNKNOWN:
            return True
        case _:
            return None


def _entry(sent: Sent, answer: Ended, change: Change, *, now: datetime) -> Mapping[str, object]:
    """Return what the history keeps; the answer only where the next attempt's takes its place."""
    code, message = _error(answer)
    entry: dict[str, object] = {
        "attempt": sent.attempt,
        "key": sent.key,
        "status": answer.status,
        "sent_at": sent.sent_at,
        "ended_at": now,
        "reference": answer.reference,
        "error_code": code,
        "error_message": message,
    }
    if change.phase is Phase.READY and (result := without_marks(answer.result)):
        entry["result"] = result
    return entry


def _error(
    answer: Accepted | Progress | Ended | Refused | Lost | NotReceived,
) -> tuple[str | None, str | None]:
    match answer:
        case Ended():
            code, message = answer.error_code, answer.error_message
        case Refused() | Lost():
            code, message = answer.code, answer.message
        case _:
            return None, None
    return code and code[:LONGEST_CODE], message
