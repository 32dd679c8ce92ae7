"""The shipments this door shows, as rows; always by team."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from psycopg.rows import class_row
from psycopg.sql import SQL, Composed

from batchyard.api.smartsend.queries import Page
from batchyard.errors import NotFound
from batchyard.models import JsonObject
from batchyard.store.db import Connection

# Of an item `i` of a batch `b`; also asked of batch_counts, which have the same two columns.
_WAITING_STATE = SQL("""
    CASE WHEN b.state = 'open' THEN 'open'
         WHEN b.state IN ('scheduled', 'queued', 'running', 'paused') THEN 'queued'
         WHEN b.state = 'cancelled' THEN 'cancelled'
         ELSE 'failed' END
""")

STATE = SQL("""
    CASE WHEN i.phase IN ('ready', 'claimed') THEN {waiting_state}
         WHEN i.phase IN ('calling', 'live', 'unknown') THEN 'processing'
         WHEN i.status = 'booked' THEN 'booked'
         WHEN i.status = 'canceled' THEN 'cancelled'
         ELSE 'failed' END
""").format(waiting_state=_WAITING_STATE)

SHOWN_STATE = SQL("""
    CASE WHEN i.phase = 'unknown' AND i.updated_at <= %(lost_before)s THEN 'failed'
         ELSE {state} END
""").format(state=STATE)

ROW = SQL("""
SELECT i.id, {state} AS state, i.phase, i.status, d.payload::text AS payload_json,
       d.result::text AS result_json, d.error_code, d.error_message,
       coalesce(d.ended_at, b.finished_at, i.updated_at) AS at
""").format(state=SHOWN_STATE)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShipmentRow:
    """A shipment as it is stored, with the state this door shows."""

    id: UUID
    state: str
    phase: str
    status: str
    payload_json: str
    result_json: str | None
    error_code: str | None
    error_message: str | None
    at: datetime
    """When it ended, or was last heard of."""

    @property
    def payload(self) -> JsonObject:
        """The shipment as it was checked at intake."""
        payload: JsonObject = orjson.loads(self.payload_json)
        return payload

    @property
    def result(self) -> JsonObject:
        """What the provider answered at the end."""
        result: JsonObject = orjson.loads(self.result_json or "{}")
        return result


def _list(condition: SQL | Composed) -> Composed:
    return SQL("""
WITH page AS MATERIALIZED (
    SELECT d.item_id, d.position
      FROM item_data d
     WHERE d.batch_id = %(batch_id)s {condition}
     ORDER BY d.position
     LIMIT %(limit)s OFFSET %(offset)s
)
{row}
  FROM page
  JOIN item_data d ON d.item_id = page.item_id
  JOIN items i ON i.id = page.item_id
  JOIN batches b ON b.id = i.batch_id
 WHERE b.team_id = %(team_id)s
 ORDER BY page.position
""").format(condition=condition, row=ROW)


LIST_SHIPMENTS = _list(SQL(""))

LIST_SHIPMENTS_IN_STATE = _list(
    SQL("""
       AND EXISTS (SELECT FROM items i JOIN batches b ON b.id = i.batch_id
                    WHERE i.id = d.item_id AND {state} = %(state)s)
""").format(state=SHOWN_STATE)
)

# From the counts; the outcomes lost for good are looked up by their own index.
COUNT_SHIPMENTS = SQL("""
SELECT coalesce(sum(i.n) FILTER (WHERE %(state)s::text IS NULL OR {state} = %(state)s), 0)
       + CASE %(state)s::text WHEN 'failed' THEN lost.n WHEN 'processing' THEN -lost.n ELSE 0 END
  FROM batches b
  LEFT JOIN batch_counts i ON i.batch_id = b.id
 CROSS JOIN LATERAL (
       SELECT count(*) AS n FROM items u
        WHERE u.batch_id = b.id AND u.phase = 'unknown' AND u.updated_at <= %(lost_before)s
       ) AS lost
 WHERE b.id = %(batch_id)s AND b.team_id = %(team_id)s AND b.kind = 'shipment'
   AND b.deleted_at IS NULL AND NOT b.is_single AND b.state NOT IN ('importing', 'cancelled')
 GROUP BY b.id, lost.n
""").format(state=STATE)


async def list_shipments(
    connection: Connection,
    *,
    team_id: int,
    batch_id: UUID,
    state: str | None,
    page: Page,
    lost_before: datetime,
) -> tuple[int, Sequence[ShipmentRow]]:
    """Return how many shipments of a batch there are, and a page of them in their order.

    Raises `NotFound` for a batch that clients cannot see.
    """
    values = {
        "team_id": team_id,
        "batch_id": batch_id,
        "state": state,
        "limit": page.size,
        "offset": page.offset,
        "lost_before": lost_before,
    }
    counted = await (await connection.execute(COUNT_SHIPMENTS, values)).fetchone()
    if counted is None:
        raise NotFound
    statement = LIST_SHIPMENTS if state is None else LIST_SHIPMENTS_IN_STATE
    async with connection.cursor(row_factory=class_row(ShipmentRow)) as cursor:
        await cursor.execute(statement, values)
        return int(str(counted[0])), await cursor.fetchall()


READ_SHIPMENT = SQL("""
{row}
  FROM items i
  JOIN item_data d ON d.item_id = i.id
  JOIN batches b ON b.id = i.batch_id
 WHERE i.id = %(id)s AND b.team_id = %(team_id)s AND b.kind = 'shipment'
   AND b.deleted_at IS NULL AND b.state <> 'importing'
""").format(row=ROW)


async def read_shipment(
    connection: Connection, *, team_id: int, shipment_id: UUID, lost_before: datetime
) -> ShipmentRow:
    """Return one shipment, also one that was cancelled; raise `NotFound`."""
    async with connection.cursor(row_factory=class_row(ShipmentRow)) as cursor:
        await cursor.execute(
            READ_SHIPMENT, {"team_id": team_id, "id": shipment_id, "lost_before": lost_before}
        )
        row = await cursor.fetchone()
    if row is None:
        raise NotFound
    return row


@dataclass(frozen=True, kw_only=True, slots=True)
class OperationRow(ShipmentRow):
    """A booking somebody asked for, with the shipment it is about."""

    operation_id: UUID
    requested_at: datetime


READ_OPERATION = SQL("""
{row}, k.id AS operation_id, k.created_at AS requested_at
  FROM bookings k
  JOIN items i ON i.id = k.item_id
  JOIN item_data d ON d.item_id = i.id
  JOIN batches b ON b.id = i.batch_id
 WHERE k.id = %(id)s AND k.team_id = %(team_id)s AND b.team_id = %(team_id)s
   AND b.deleted_at IS NULL
""").format(row=ROW)


async def read_operation(
    connection: Connection, *, team_id: int, operation_id: UUID, lost_before: datetime
) -> OperationRow:
    """Return one booking; raise `NotFound`."""
    async with connection.cursor(row_factory=class_row(OperationRow)) as cursor:
        await cursor.execute(
            READ_OPERATION, {"team_id": team_id, "id": operation_id, "lost_before": lost_before}
        )
        row = await cursor.fetchone()
    if row is None:
        raise NotFound
    return row
