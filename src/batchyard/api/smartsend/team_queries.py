"""All shipments of a team, in batches or single, as this door lists them; always by team."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row
from psycopg.sql import SQL, Composed

from batchyard.api.smartsend.queries import Page
from batchyard.api.smartsend.shipment_queries import ROW, SHOWN_STATE, STATE, ShipmentRow
from batchyard.store.db import Connection

# By their two indexes: those that are listed as batches, and the others.
_BATCHES = SQL("""
    SELECT b.id, b.created_at, b.state
      FROM batches b
     WHERE b.team_id = %(team_id)s AND b.kind = 'shipment' AND b.deleted_at IS NULL
       AND NOT b.is_single AND b.state NOT IN ('importing', 'cancelled'){batch}
    UNION ALL
    SELECT b.id, b.created_at, b.state
      FROM batches b
     WHERE b.team_id = %(team_id)s AND b.kind = 'shipment' AND b.deleted_at IS NULL
       AND b.state <> 'importing' AND (b.is_single OR b.state = 'cancelled'){batch}
""")

_OF_BATCH = SQL(" AND b.id = %(batch_id)s")

_IN_STATE = SQL(" FILTER (WHERE {state} = %(state)s)").format(state=STATE)

# Outcomes lost for good are counted as failed though the counts have them as unknown.
_LOST = SQL("""
    {sign} (SELECT count(*) FROM items u
             WHERE u.batch_id = b.id AND u.phase = 'unknown' AND u.updated_at <= %(lost_before)s)
""")
_NOTHING = SQL("")


# Places of the page come from the counts of the team's batches, so that a deep page reads no item
# before it. Newest batch first, in its own order; a single shipment is a batch of one.
def _place(*, batches: Composed, state: SQL | Composed, lost: SQL | Composed) -> Composed:
    return SQL("""
WITH counted AS MATERIALIZED (
    SELECT b.id, b.created_at, coalesce(sum(i.n){state}, 0){lost} AS n
      FROM ({batches}) AS b
      JOIN batch_counts i ON i.batch_id = b.id
     GROUP BY b.id, b.created_at, b.state
), placed AS (
    SELECT id, n, created_at, sum(n) OVER (ORDER BY created_at DESC, id DESC) - n AS before
      FROM counted
     WHERE n > 0
), chosen AS (
    SELECT id, created_at, greatest(%(offset)s::numeric - before, 0) AS skipped,
           least(n, %(offset)s::numeric + %(limit)s - before) AS until
      FROM placed
     WHERE before < %(offset)s::numeric + %(limit)s AND before + n > %(offset)s::numeric
)
SELECT (SELECT coalesce(sum(n), 0)::bigint FROM counted) AS total,
       coalesce(array_agg(id ORDER BY created_at DESC, id DESC), '{{}}') AS batch_ids,
       coalesce(array_agg(skipped::bigint ORDER BY created_at DESC, id DESC), '{{}}') AS skips,
       coalesce(array_agg((until - skipped)::bigint ORDER BY created_at DESC, id DESC), '{{}}')
           AS takes
  FROM chosen
""").format(batches=batches, state=state, lost=lost)


def _statements(batch: SQL) -> dict[str | None, Composed]:
    batches = _BATCHES.format(batch=batch)
    known: dict[str | None, Composed] = {
        state: _place(batches=batches, state=_IN_STATE, lost=_NOTHING)
        for state in ("open", "queued", "booked", "cancelled")
    }
    return {
        **known,
        None: _place(batches=batches, state=_NOTHING, lost=_NOTHING),
        "failed": _place(batches=batches, state=_IN_STATE, lost=_LOST.format(sign=SQL("+"))),
        "processing": _place(batches=batches, state=_IN_STATE, lost=_LOST.format(sign=SQL("-"))),
    }


PLACES = _statements(_NOTHING)
PLACES_IN_BATCH = _statements(_OF_BATCH)


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """How many shipments there are, and where those of a page lie."""

    total: int
    batch_ids: Sequence[UUID]
    skips: Sequence[int]
    takes: Sequence[int]


def _list(condition: SQL | Composed) -> Composed:
    return SQL("""
WITH chosen AS (
    SELECT p.place, d.position, d.item_id
      FROM unnest(%(batch_ids)s::uuid[], %(skips)s::bigint[], %(takes)s::bigint[])
           WITH ORDINALITY AS p (batch_id, skip, take, place)
      JOIN batches b ON b.id = p.batch_id
     CROSS JOIN LATERAL (
           SELECT d.item_id, d.position
             FROM item_data d
            WHERE d.batch_id = p.batch_id {condition}
            ORDER BY d.position
           OFFSET p.skip LIMIT p.take) AS d
     WHERE b.team_id = %(team_id)s
)
{row}
  FROM chosen
  JOIN item_data d ON d.item_id = chosen.item_id
  JOIN items i ON i.id = chosen.item_id
  JOIN batches b ON b.id = i.batch_id
 ORDER BY chosen.place, chosen.position
""").format(condition=condition, row=ROW)


LIST = _list(_NOTHING)
LIST_IN_STATE = _list(
    SQL("""
              AND EXISTS (SELECT FROM items i WHERE i.id = d.item_id AND {state} = %(state)s)
""").format(state=SHOWN_STATE)
)


async def list_shipments(
    connection: Connection,
    *,
    team_id: int,
    batch_id: UUID | None,
    state: str | None,
    page: Page,
    lost_before: datetime,
) -> tuple[int, Sequence[ShipmentRow]]:
    """Return how many shipments a team has, and a page of them, those of its newest batch first."""
    values: dict[str, object] = {
        "team_id": team_id,
        "batch_id": batch_id,
        "state": state,
        "limit": page.size,
        "offset": page.offset,
        "lost_before": lost_before,
    }
    statements = PLACES if batch_id is None else PLACES_IN_BATCH
    async with connection.cursor(row_factory=class_row(Places)) as cursor:
        await cursor.execute(statements[state], values)
        places = await cursor.fetchone()
    if places is None or not places.batch_ids:
        return (places.total if places else 0), ()
    values |= {
        "batch_ids": list(places.batch_ids),
        "skips": list(places.skips),
        "takes": list(places.takes),
    }
    async with connection.cursor(row_factory=class_row(ShipmentRow)) as cursor:
        await cursor.execute(LIST if state is None else LIST_IN_STATE, values)
        return places.total, await cursor.fetchall()
