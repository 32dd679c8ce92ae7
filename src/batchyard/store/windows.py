"""Calling windows in the database: sets of zones, and items whose window is closed."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from batchyard.store.db import Connection

UNKNOWN_ZONES = 0
"""Stands for a null `zone_set`: nobody knows where the number is."""

ZoneSets = Mapping[int, tuple[str, ...]]
"""What each id of a set of zones means."""

LIST_ZONE_SETS = "SELECT id, zones FROM zone_sets"


async def list_zone_sets(conn: Connection) -> dict[int, tuple[str, ...]]:
    """Return every set of zones by its id; an id never changes its meaning."""
    rows = await (await conn.execute(LIST_ZONE_SETS)).fetchall()
    return {int(str(id_)): tuple(zones) for id_, zones in rows if isinstance(zones, list)}


# The lock lets two uploads with a new edition of the metadata follow each other; readers go on.
LOCK_ZONE_SETS = "LOCK TABLE zone_sets IN SHARE ROW EXCLUSIVE MODE"

ADD_ZONE_SETS = """
INSERT INTO zone_sets (id, zones)
SELECT (SELECT coalesce(max(id), 0) FROM zone_sets) + row_number() OVER (ORDER BY n.zones), n.zones
  FROM (SELECT string_to_array(set, ' ') AS zones FROM unnest(%(sets)s::text[]) AS s (set)) AS n
 WHERE NOT EXISTS (SELECT FROM zone_sets k WHERE k.zones = n.zones)
"""


async def ensure_zone_sets(
    conn: Connection, sets: Collection[tuple[str, ...]]
) -> dict[tuple[str, ...], int]:
    """Give every one of these sets an id, and return the ids."""
    known = {zones: id_ for id_, zones in (await list_zone_sets(conn)).items()}
    missing = [zones for zones in sets if zones not in known]
    if missing:
        await conn.execute(LOCK_ZONE_SETS)
        await conn.execute(ADD_ZONE_SETS, {"sets": [" ".join(zones) for zones in missing]})
        known = {zones: id_ for id_, zones in (await list_zone_sets(conn)).items()}
    return known


# A slab of the due items, in the order they are claimed, bounds the work of one admission however
# many items wait behind closed windows.
LIST_CLOSED = """
SELECT DISTINCT zone_set
  FROM (SELECT coalesce(zone_set, 0) AS zone_set FROM items
         WHERE batch_id = %(batch_id)s AND phase = 'ready' AND due_at <= %(now)s
         ORDER BY due_at, id
         LIMIT %(slab)s) AS due
 WHERE zone_set <> ALL (%(open_sets)s)
"""


async def list_closed(
    conn: Connection, *, batch_id: UUID, open_sets: Sequence[int], slab: int, now: datetime
) -> list[int]:
    """List the sets of zones, among the first `slab` due items of a batch, that are not open."""
    cursor = await conn.execute(
        LIST_CLOSED,
        {"batch_id": batch_id, "open_sets": list(open_sets), "slab": slab, "now": now},
    )
    return [int(str(row[0])) for row in await cursor.fetchall()]


# Whoever changes a window locks one of these rows before, and looks anew at what waits for it after
# the commit. So what is put off while they are held is either put off by the new window, or looked
# at anew. The agent comes first: a change of one may lock its team after it.
HOLD_AGENT = """
SELECT FROM agents WHERE id = (SELECT agent_id FROM batches WHERE id = %(batch_id)s) FOR SHARE
"""

HOLD_TEAM = """
SELECT id FROM teams WHERE id = (SELECT team_id FROM batches WHERE id = %(batch_id)s) FOR SHARE
"""

HOLD_BATCH = "SELECT FROM batches WHERE id = %(batch_id)s FOR SHARE"


async def hold(conn: Connection, *, batch_id: UUID) -> int | None:
    """Let nobody change the window of a batch until the transaction ends; return its team."""
    await conn.execute(HOLD_AGENT, {"batch_id": batch_id})
    row = await (await conn.execute(HOLD_TEAM, {"batch_id": batch_id})).fetchone()
    await conn.execute(HOLD_BATCH, {"batch_id": batch_id})
    return None if row is None else int(str(row[0]))


# Locks the rows in id order, as settling does, and skips what another holds.
RESCHEDULE = """
WITH due AS MATERIALIZED (
    SELECT id, coalesce(zone_set, 0) AS zone_set FROM items
     WHERE batch_id = %(batch_id)s AND phase = 'ready' AND due_at <= %(now)s
     ORDER BY due_at, id
     LIMIT %(slab)s
), closed AS MATERIALIZED (
    SELECT i.id, o.opens_at
      FROM due d
      JOIN unnest(%(sets)s::int[], %(opens_ats)s::timestamptz[]) AS o (zone_set, opens_at)
        ON o.zone_set = d.zone_set
      JOIN items i ON i.id = d.id
     WHERE i.phase = 'ready' AND i.due_at <= %(now)s
     ORDER BY i.id
       FOR UPDATE OF i SKIP LOCKED
), moved AS (
    UPDATE items i
       SET phase = CASE WHEN c.opens_at IS NULL THEN 'done' ELSE 'ready' END,
           status = CASE WHEN c.opens_at IS NULL THEN 'canceled' ELSE 'rescheduled' END,
           due_at = coalesce(c.opens_at, i.due_at), updated_at = %(now)s
      FROM closed c
     WHERE i.id = c.id
    RETURNING i.id, i.phase
), noted AS (
    UPDATE item_data d
       SET error_code = %(code)s, error_message = %(message)s, ended_at = %(now)s
      FROM moved m
     WHERE d.item_id = m.id AND m.phase = 'done'
)
SELECT count(*) FROM moved
"""


async def reschedule(
    conn: Connection,
    *,
    batch_id: UUID,
    openings: Mapping[int, datetime | None],
    code: str,
    message: str,
    slab: int,
    now: datetime,
) -> int:
    """Move due items of closed sets, among the first `slab`, to when their window opens.

    Where it never opens (None) they end canceled, with this error. Returns how many there were.
    """
    cursor = await conn.execute(
        RESCHEDULE,
        {
            "batch_id": batch_id,
            "sets": list(openings),
            "opens_ats": list(openings.values()),
            "code": code,
            "message": message,
            "slab": slab,
            "now": now,
        },
    )
    row = await cursor.fetchone()
    return int(str(row[0])) if row else 0


# Looked at again by the next admission, which puts off what is still closed: what was put off since
# is not taken another time.
RECONSIDER = """
WITH chosen AS (
    SELECT i.id
      FROM items i JOIN batches b ON b.id = i.batch_id
     WHERE b.team_id = %(team_id)s AND b.kind = 'call'
       AND b.state IN ('queued', 'running', 'paused')
       AND (%(agent_id)s::uuid IS NULL OR b.agent_id = %(agent_id)s)
       AND (%(of_batch)s::uuid IS NULL OR b.id = %(of_batch)s)
       AND i.phase = 'ready' AND i.status = 'rescheduled' AND i.due_at > %(now)s
       AND i.updated_at < %(put_off_before)s
     LIMIT %(limit)s
       FOR UPDATE OF i SKIP LOCKED
)
UPDATE items i SET due_at = %(now)s FROM chosen c WHERE i.id = c.id
"""


async def reconsider(
    conn: Connection,
    *,
    team_id: int,
    agent_id: UUID | None,
    batch_id: UUID | None,
    put_off_before: datetime,
    limit: int,
    now: datetime,
) -> int:
    """Make items due that wait for a window which has changed since; return how many."""
    cursor = await conn.execute(
        RECONSIDER,
        {
            "team_id": team_id,
            "agent_id": agent_id,
            "of_batch": batch_id,
            "put_off_before": put_off_before,
            "limit": limit,
            "now": now,
        },
    )
    return cursor.rowcount
