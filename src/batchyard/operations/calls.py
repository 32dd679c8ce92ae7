"""Single calls: place one, now or at a time, and stop one."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from batchyard import retry
from batchyard.errors import Conflict, InvalidRequest, NotFound
from batchyard.intake.phones import UNASSIGNED, read_number
from batchyard.intake.verdicts import REFUSALS
from batchyard.models import BatchState, JsonObject, RetryPolicy, Team
from batchyard.operations.agents import use_agent
from batchyard.operations.contact_checks import find_blocked, open_check
from batchyard.operations.numbers import choose_numbers
from batchyard.operations.transactions import Transactions
from batchyard.store import batches, calls, control, queue
from batchyard.store.db import Connection
from batchyard.store.ids import new_id
from batchyard.store.item_intake import NewItem, copy_items


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipient:
    """A number the team may call."""

    number: str
    zone_set: int | None


async def check_recipient(
    db: Transactions, *, team: Team, text: str, refuses_unassigned: bool
) -> Recipient:
    """Give a number the verdict it would get in a list; raise `InvalidRequest` if refused."""
    check = await open_check(db, team=team)
    number = read_number(text)
    if isinstance(number, str):
        raise _refused(number)
    if refuses_unassigned and not number.is_assigned:
        raise _refused(UNASSIGNED)
    never = check.rules.judge(region=number.region, is_premium=number.is_premium)
    blocked = await find_blocked(db, check, {number.e164: number.zones})
    if code := never or blocked.get(number.e164):
        raise _refused(code)
    return Recipient(number=number.e164, zone_set=check.zone_sets.get(number.zones))


@dataclass(frozen=True, kw_only=True, slots=True)
class NewCall:
    """A call somebody asks for."""

    agent_id: UUID
    recipient: Recipient
    from_numbers: Sequence[str]
    variables: JsonObject
    retry_policy: RetryPolicy
    bypass_windows: bool
    at: datetime | None
    """None is now."""


async def place_call(
    db: Transactions,
    *,
    team: Team,
    call: NewCall,
    seal: Callable[[Connection, UUID], Awaitable[None]] | None = None,
) -> UUID:
    """Queue or schedule a call, and return its id.

    `seal` is given the id, to do more in the transaction. Raises `NotFound` for an agent that is
    not the team's.
    """
    batch_id, item_id = new_id(), new_id()
    async with db.transaction() as conn:
        now = db.clock()
        await use_agent(conn, team=team, agent_id=call.agent_id, creates=False, now=now)
        await calls.insert_single(
            conn,
            batch_id=batch_id,
            team_id=team.id,
            agent_id=call.agent_id,
            from_numbers=await choose_numbers(
                conn, team=team, agent_id=call.agent_id, given=call.from_numbers
            ),
            retry_policy=retry.to_json(call.retry_policy),
            bypass_windows=call.bypass_windows,
            scheduled_at=call.at,
            now=now,
        )
        item = NewItem(
            id=item_id,
            position=1,
            number=call.recipient.number,
            zone_set=call.recipient.zone_set,
            payload=call.variables,
        )
        await batches.note_trace(conn, batch_id=batch_id)
        await copy_items(conn, batch_id=batch_id, team_id=team.id, rows=[item], now=now)
        if call.at is None:
            await queue.wake(conn, team_id=team.id, now=now)
        if seal is not None:
            await seal(conn, item_id)
    return item_id


async def stop_call(db: Transactions, *, team: Team, item_id: UUID) -> None:
    """End a call that was not sent yet, of a batch or single; a retry is not sent either.

    Raises `NotFound`, and `Conflict` when it is out or has ended.
    """
    async with db.transaction() as conn:
        batch = await calls.lock_batch(conn, item_id=item_id, team_id=team.id)
        if batch is None:
            raise NotFound("There is no such execution.")
        now = db.clock()
        if not await control.stop_item(conn, item_id=item_id, now=now):
            raise Conflict("The call is not waiting any more.", state=batch.state)
        if batch.is_single:
            await control.set_state(
                conn, batch_id=batch.id, state=BatchState.STOPPED, reason=None, now=now
            )
        else:
            await control.start_if_all_ended(conn, batch_ids=[batch.id], now=now)


def _refused(code: str) -> InvalidRequest:
    return InvalidRequest(f"recipient_phone_number: {REFUSALS[code].sentence}", code=code)
