"""The statements that a busy installation runs most, each with values as it has them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import orjson
import psycopg
from psycopg.sql import Composed

from batchyard.api.bolna import queries as bolna
from batchyard.api.bolna.translate import DEFAULT_VERSION
from batchyard.api.operator import item_queries as operator
from batchyard.api.smartsend import queries as smartsend
from batchyard.clock import machine_now
from batchyard.lifecycle import ADMITTING_STATES, CANCELED_STATUS, LIVE_ORDER, SENT_PHASES
from batchyard.models import Kind
from batchyard.store import items, limits, queue, runs, tokens
from batchyard.store.item_filters import NO_FILTERS
from tools.bench import filling, yard

HISTORY_BATCHES = 50
CALL_BATCHES = 10_000
SHIPMENT_BATCHES = 50_000
BLOCK = 500
WORKER = 1

HOLD = """
WITH held AS (SELECT id FROM items WHERE batch_id = %(batch)s AND phase = 'ready'
               ORDER BY id LIMIT %(limit)s)
UPDATE items i
   SET phase = %(phase)s, status = %(status)s, worker_id = %(worker)s, provider_id = 1, lease = 1,
       sends = 1, intent_at = now()
  FROM held WHERE i.id = held.id
RETURNING i.id
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class HotStatement:
    """A statement, what it is given, and when it runs."""

    sql: str | Composed
    values: Mapping[str, object] = field(default_factory=dict)
    remark: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Filled:
    """What there is in the database."""

    team_id: int
    agent_id: UUID
    batch_id: UUID
    claimed: list[UUID]
    calling: list[UUID]
    middle: tuple[object, ...]
    """Batch, position and id of the item in the middle."""
    now: datetime


def fill(url: str, *, items: int) -> Filled:
    """Fill a database: one batch that runs, as many ended items, long lists."""
    team, agent = yard.ensure_team(url), filling.make_agent(url)
    (batch_id,) = filling.fill(url, items=items, kind=Kind.CALL, agent_id=agent)
    filling.fill(url, items=items, batches=HISTORY_BATCHES, is_done=True)
    filling.fill_list(url, batches=CALL_BATCHES, kind=Kind.CALL, agent_id=agent)
    filling.fill_list(url, batches=SHIPMENT_BATCHES, kind=Kind.SHIPMENT)
    yard.dispatch(url, [batch_id], kind=Kind.CALL)
    with psycopg.connect(url) as connection:
        claimed = _hold(connection, batch_id, phase="claimed", status="waiting")
        calling = _hold(connection, batch_id, phase="calling", status="sending")
        middle = connection.execute(
            "SELECT batch_id, position, item_id FROM item_data WHERE batch_id = %s"
            " AND position = %s",
            (batch_id, items // 2),
        ).fetchone()
    yard.settle(url)
    return Filled(
        team_id=team.id,
        agent_id=agent,
        batch_id=batch_id,
        claimed=claimed,
        calling=calling,
        middle=middle or (),
        now=machine_now(),
    )


def list_statements(filled: Filled) -> dict[str, HotStatement]:
    """List the statements in the order that an item meets them."""
    return {**dict(_of_the_engine(filled)), **dict(_of_the_doors(filled))}


def _of_the_engine(filled: Filled) -> Iterator[tuple[str, HotStatement]]:
    now = filled.now
    yield (
        "Admission: which batches have something due",
        HotStatement(
            sql=runs.ADMISSIBLE.format(order=runs.Order.BY_PRIORITY.value, beyond=""),
            values={"team_id": filled.team_id, "singles_only": False, "limit": 10, "now": now},
            remark="Once for each admission, that is for some hundreds of items.",
        ),
    )
    keys = [limits.provider_key(1), limits.team_key(filled.team_id)]
    yield (
        "Admission: lock the limits concerned",
        HotStatement(sql=limits.LOCK, values={"keys": keys}, remark="Once for each admission."),
    )
    yield (
        "Admission: count what is in flight",
        HotStatement(
            sql=limits.COUNT_IN_FLIGHT,
            values={
                "team_id": filled.team_id,
                "provider_ids": [1],
                "batch_ids": [filled.batch_id],
                "agent_ids": [filled.agent_id],
            },
            remark="Once for each admission; as dear as there are items in flight.",
        ),
    )
    yield (
        f"Claim of {BLOCK} items with their intent",
        HotStatement(
            sql=items.CLAIM_DUE,
            values={
                "batch_id": filled.batch_id,
                "worker_id": WORKER,
                "provider_id": 1,
                "from_numbers": [],
                "limit": BLOCK,
                "with_intent": True,
                "deadline_at": now + timedelta(seconds=30),
                "now": now,
            },
            remark="For a `repeatable` provider; the counting trigger is part of it.",
        ),
    )
    yield (
        f"Intent of {BLOCK} items",
        HotStatement(
            sql=items.INTEND,
            values={
                "rows": _json(
                    [{"id": i, "lease": 1, "deadline_seconds": 30.0} for i in filled.claimed]
                ),
                "worker_id": WORKER,
                "admitting": list(ADMITTING_STATES),
                "now": now,
            },
            remark="For providers that are not `repeatable`.",
        ),
    )
    yield (
        f"Outcome of {BLOCK} items",
        HotStatement(
            sql=items.SETTLE,
            values={
                "rows": _json([_settlement(i) for i in filled.calling]),
                "sent": list(SENT_PHASES),
                "live_order": list(LIVE_ORDER),
                "canceled": CANCELED_STATUS,
                "now": now,
            },
            remark="What the journal gathered, in one statement; the triggers are part of it.",
        ),
    )
    yield (
        "Batches that have ended",
        HotStatement(
            sql=runs.FINISH,
            values={
                "now": now,
                "unknown_before": now,
                "booked": "booked",
                "batch_ids": [filled.batch_id],
            },
            remark="After each commit that ended items.",
        ),
    )
    yield (
        "Wakes that are due",
        HotStatement(
            sql=queue.DUE_WAKES, values={"now": now}, remark="Four times a second, by one worker."
        ),
    )


def _of_the_doors(filled: Filled) -> Iterator[tuple[str, HotStatement]]:
    now, team_id = filled.now, filled.team_id
    yield (
        "Who speaks",
        HotStatement(
            sql=tokens.SELECT_PRINCIPAL,
            values={"hash": b"0" * 32, "now": now},
            remark="Once for each request.",
        ),
    )
    for title, limit in (("a page of 100", 100), ("all", None)):
        yield (
            f"Bolna: {title} of an agent's {CALL_BATCHES:,} batches",
            HotStatement(
                sql=bolna.LIST_BATCHES[DEFAULT_VERSION],
                values={
                    "team_id": team_id,
                    "now": now,
                    "unknown_before": now,
                    "agent_id": filled.agent_id,
                    "limit": limit,
                    "offset": 0,
                    "token_hash": None,
                },
                remark="PostgreSQL writes the JSON.",
            ),
        )
    for title, offset in (("page 1", 0), ("the last page", SHIPMENT_BATCHES - 100)):
        yield (
            f"Smart Send: 100 of {SHIPMENT_BATCHES:,} batches, {title}",
            HotStatement(
                sql=smartsend.LIST_BATCHES,
                values={
                    "team_id": team_id,
                    "limit": 100,
                    "offset": offset,
                    "lost_before": now,
                    "now": now,
                    "token_hash": None,
                },
                remark="The total is counted in the index alone.",
            ),
        )
    batch, position, item = filled.middle
    asked: dict[str, object] = {
        "team_id": team_id,
        "batch_id": filled.batch_id,
        "after_batch": batch,
        "after_position": position,
        "after_id": item,
        "limit": 101,
    }
    yield (
        "Operator: 100 items from the middle of a batch",
        HotStatement(
            sql=operator.items_statement(NO_FILTERS, asked),
            values=asked,
            remark="The cursor is a place in the index.",
        ),
    )


def _hold(
    connection: psycopg.Connection[tuple[object, ...]], batch_id: UUID, *, phase: str, status: str
) -> list[UUID]:
    values = {"batch": batch_id, "limit": BLOCK, "worker": WORKER, "phase": phase}
    found = connection.execute(HOLD, {**values, "status": status}).fetchall()
    connection.commit()
    return [UUID(str(row[0])) for row in found]


def _settlement(item_id: UUID) -> dict[str, object]:
    return {
        "id": item_id,
        "attempt": 1,
        "phase": "done",
        "status": "completed",
        "next_attempt": 1,
        "provider": "http",
        "entry": {"attempt": 1, "key": f"{item_id}.1", "status": "completed"},
        "result": {"duration": 30},
    }


def _json(rows: list[dict[str, object]]) -> str:
    return orjson.dumps(rows).decode()
