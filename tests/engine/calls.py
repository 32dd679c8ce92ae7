"""Batches of calls to real-looking numbers, under windows and rules."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from psycopg.types.json import Jsonb

from batchyard.contact_rules import TeamRules
from batchyard.intake.phones import read_number
from batchyard.intake.zones import list_zone_sets
from batchyard.models import Kind, RetryPolicy, Team
from batchyard.operations import contacts
from batchyard.store import teams, windows
from batchyard.store.ids import new_id
from batchyard.store.item_intake import NewItem, copy_items
from tests.clocks import SetClock
from tests.engine.conftest import Yard

DANE, NEW_YORKER, JAPANESE = "+4520123456", "+12125550123", "+81312345678"
SATELLITE = "+870773111632"
"""A number of no place on earth."""
TOLL_FREE = "+18005551234"
"""A number of every zone from Guam to Newfoundland."""

OFFICE = {"call_start_hour": 9, "call_end_hour": 20}


def set_clock(yard: Yard, at: datetime) -> SetClock:
    """Give the yard a clock that tests set."""
    clock = SetClock(at)
    yard.db.clock = clock
    return clock


async def find_team(yard: Yard) -> Team:
    """Return the yard's team."""
    async with yard.db.pool.connection() as conn:
        team = await teams.find_by_id(conn, team_id=yard.team_id)
    assert team is not None
    return team


async def set_rules(yard: Yard, rules: TeamRules) -> None:
    """Give the yard's team these rules."""
    await contacts.set_rules(yard.db, team=await find_team(yard), change=lambda _: rules)


async def make_calls(
    yard: Yard,
    numbers: Sequence[str],
    *,
    guardrails: Mapping[str, object] | None = OFFICE,
    bypasses: bool = False,
    retry_policy: RetryPolicy | None = None,
) -> UUID:
    """Make a batch of calls, one to each number, and dispatch it."""
    batch_id = await yard.make_batch(
        items=0, kind=Kind.CALL, retry_policy=retry_policy, state="paused"
    )
    # Both take seconds the first time, on a busy machine more than a transaction has.
    zone_sets, read = list_zone_sets(), [read_number(text) for text in numbers]
    async with yard.db.transaction() as conn:
        ids = await windows.ensure_zone_sets(conn, zone_sets)
        await conn.execute(
            "UPDATE agents SET config = %s WHERE id = (SELECT agent_id FROM batches WHERE id = %s)",
            (Jsonb({"calling_guardrails": guardrails} if guardrails else {}), batch_id),
        )
        rows = []
        for position, number in enumerate(read):
            assert not isinstance(number, str), numbers[position]
            zone_set = ids.get(number.zones)
            rows.append(
                NewItem(
                    id=new_id(),
                    position=position,
                    payload={"n": position},
                    number=number.e164,
                    zone_set=zone_set,
                )
            )
        await copy_items(
            conn, batch_id=batch_id, team_id=yard.team_id, rows=rows, now=yard.db.clock()
        )
        await conn.execute(
            "UPDATE batches SET state = 'queued', bypass_windows = %s, total_rows = %s"
            " WHERE id = %s",
            (bypasses, len(rows), batch_id),
        )
    return batch_id


async def outcomes(yard: Yard, batch_id: UUID) -> dict[str, tuple[str, str | None]]:
    """Return status and error code of each number's item; the last one counts."""
    async with yard.db.pool.connection() as conn:
        rows = await (
            await conn.execute(
                "SELECT d.number, i.status, d.error_code FROM items i"
                " JOIN item_data d ON d.item_id = i.id WHERE i.batch_id = %s ORDER BY d.position",
                (batch_id,),
            )
        ).fetchall()
    return {str(n): (str(status), None if code is None else str(code)) for n, status, code in rows}


async def due_at(yard: Yard, number: str) -> object:
    """Return when the item of a number is due."""
    return await yard.value(
        "SELECT due_at FROM items JOIN item_data ON item_id = id WHERE number = %s", [number]
    )


def called(yard: Yard) -> list[str]:
    """Return the numbers that were called, in order."""
    return [str(request.number) for request in yard.provider.sent]
