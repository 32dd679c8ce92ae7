"""Calls and refused rows of a batch, read in blocks by key: no long transaction, flat memory."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import orjson
from psycopg.rows import class_row

from batchyard.api.bolna.queries import VISIBLE, Page, View
from batchyard.api.bolna.sql_words import ITEM_WORD, sql_time
from batchyard.api.bolna.translate import UNKNOWN_MESSAGE
from batchyard.store.db import Database

EXECUTIONS_AT_ONCE = 500
REJECTED_AT_ONCE = 500

# What a provider did not tell is null. Costs are US cents, so another currency is not shown.
EXECUTION = f"""
json_build_object(
    'id', i.id,
    'agent_id', b.agent_id,
    'batch_id', replace(b.id::text, '-', ''),
    'conversation_duration', d.result -> 'duration_seconds',
    'total_cost', CASE WHEN coalesce(d.result ->> 'currency', 'USD') = 'USD'
                       THEN d.result -> 'cost_minor' END,
    'status', w.word,
    'error_message', CASE WHEN i.phase = 'unknown' AND w.word = 'error'
                          THEN '{UNKNOWN_MESSAGE}' ELSE d.error_message END,
    'answered_by_voice_mail', d.result -> 'answered_by_voice_mail',
    'transcript', d.result -> 'transcript',
    'created_at', {sql_time("d.created_at")},
    'updated_at', {sql_time("i.updated_at")},
    'cost_breakdown', json_build_object(
        'llm', d.result #> '{{cost_breakdown,llm}}',
        'network', d.result #> '{{cost_breakdown,network}}',
        'platform', d.result #> '{{cost_breakdown,platform}}',
        'synthesizer', d.result #> '{{cost_breakdown,synthesizer}}',
        'transcriber', d.result #> '{{cost_breakdown,transcriber}}'),
    'telephony_data', json_build_object(
        'duration', d.result ->> 'duration_seconds',
        'to_number', d.number,
        'from_number', coalesce(d.from_number, b.from_numbers[
            1 + mod(d.position, nullif(cardinality(b.from_numbers), 0))]),
        'recording_url', d.result -> 'recording_url',
        'hosted_telephony', d.result -> 'hosted_telephony',
        'provider_call_id', d.provider_reference,
        'call_type', 'outbound',
        'provider', d.provider,
        'hangup_by', d.result -> 'hangup_by',
        'hangup_reason', d.result -> 'hangup_reason',
        'hangup_provider_code', d.result -> 'hangup_provider_code',
        'ring_duration', d.result -> 'ring_duration_seconds',
        'post_dial_delay', d.result -> 'post_dial_delay_seconds',
        'to_number_carrier', d.result -> 'to_number_carrier'),
    'transfer_call_data', d.result -> 'transfer_call_data',
    'batch_run_details', json_build_object(
        'status', w.word,
        'created_at', {sql_time("d.created_at")},
        'updated_at', {sql_time("i.updated_at")},
        'retried', i.try - 1),
    'extracted_data', d.result -> 'extracted_data',
    'context_details', json_build_object(
        'recipient_data', d.payload,
        'recipient_phone_number', d.number))::text
"""

# Keys that are there only when the batch has retries on.
RETRIES = f"""
CASE WHEN coalesce((b.retry_policy ->> 'max_retries')::int, 0) > 0 THEN json_build_object(
    'retry_count', i.try - 1,
    'retry_history', (
        SELECT coalesce(json_agg(json_build_object(
                   'attempt', a -> 'attempt', 'status', a -> 'status',
                   'at', {sql_time("(a ->> 'ended_at')::timestamptz")})
                   ORDER BY (a ->> 'attempt')::int), '[]')
          FROM jsonb_array_elements(d.attempts) AS a
         WHERE (a ->> 'attempt')::int < i.try),
    'scheduled_at', CASE WHEN i.status = 'retrying' THEN {sql_time("i.due_at")} END)::text
END
"""

EXECUTIONS = f"""
SELECT d.position, d.item_id, {EXECUTION} AS execution, {RETRIES} AS retries
  FROM batches b
  JOIN item_data d ON d.batch_id = b.id
  JOIN items i ON i.id = d.item_id
 CROSS JOIN LATERAL (SELECT {ITEM_WORD} AS word) AS w
 WHERE b.id = %(batch_id)s AND b.team_id = %(team_id)s AND b.kind = 'call' AND {VISIBLE}
   AND (d.position, d.item_id) > (%(position)s, %(item_id)s::uuid)
 ORDER BY d.position, d.item_id
 LIMIT %(limit)s OFFSET %(offset)s
"""

BEFORE_ALL = UUID(int=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Execution:
    position: int
    item_id: UUID
    execution: str
    retries: str | None

    def text(self) -> str:
        if self.retries is None:
            return self.execution
        return f"{self.execution[:-1]}, {self.retries[1:]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Key:
    position: int = -1
    item_id: UUID = BEFORE_ALL


async def stream_executions(db: Database, *, view: View, batch_id: UUID) -> AsyncIterator[bytes]:
    """Render all calls of a batch as one array, a block at a time."""
    key, separator = _Key(), "["
    while True:
        block = await _fetch(db, view=view, batch_id=batch_id, after=key, limit=EXECUTIONS_AT_ONCE)
        if block:
            yield (separator + ",".join(one.text() for one in block)).encode()
            separator = ","
        if len(block) < EXECUTIONS_AT_ONCE:
            yield b"[]" if separator == "[" else b"]"
            return
        key = _Key(position=block[-1].position, item_id=block[-1].item_id)


async def list_executions(db: Database, *, view: View, batch_id: UUID, page: Page) -> bytes:
    """Render one page of the calls of a batch."""
    total = await count_executions(db, batch_id=batch_id)
    block = await _fetch(
        db, view=view, batch_id=batch_id, after=_Key(), limit=page.size, offset=page.offset
    )
    head = orjson.dumps(
        {
            "page_number": page.number,
            "page_size": page.size,
            "total": total,
            "has_more": page.offset + len(block) < total,
        }
    ).decode()
    return f'{head[:-1]},"data":[{",".join(one.text() for one in block)}]}}'.encode()


COUNT_EXECUTIONS = "SELECT coalesce(sum(n), 0) FROM batch_counts WHERE batch_id = %(batch_id)s"


async def count_executions(db: Database, *, batch_id: UUID) -> int:
    """Count the calls of a batch."""
    async with db.pool.connection() as conn:
        row = await (await conn.execute(COUNT_EXECUTIONS, {"batch_id": batch_id})).fetchone()
    return int(str(row[0])) if row else 0


async def _fetch(
    db: Database, *, view: View, batch_id: UUID, after: _Key, limit: int, offset: int = 0
) -> list[_Execution]:
    parameters = {
        **view.parameters(),
        "batch_id": batch_id,
        "position": after.position,
        "item_id": after.item_id,
        "limit": limit,
        "offset": offset,
    }
    async with (
        db.pool.connection() as conn,
        conn.cursor(row_factory=class_row(_Execution)) as cursor,
    ):
        await cursor.execute(EXECUTIONS, parameters)
        return await cursor.fetchall()


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedRow:
    """A row of the upload that became no call."""

    line: int
    code: str
    reason: str
    cells: list[str]


COLUMNS = f"""
SELECT coalesce(b.columns, '{{}}')
  FROM batches b
 WHERE b.id = %(batch_id)s AND b.team_id = %(team_id)s AND b.kind = 'call' AND {VISIBLE}
"""


async def find_columns(db: Database, *, team_id: int, batch_id: UUID) -> list[str] | None:
    """Return the header of the uploaded file; None when the team has no such batch."""
    async with db.pool.connection() as conn:
        cursor = await conn.execute(COLUMNS, {"team_id": team_id, "batch_id": batch_id})
        row = await cursor.fetchone()
    return list(row[0]) if row and isinstance(row[0], list) else None


REFUSED_ROWS = f"""
SELECT r.line, r.code, r.reason, r.cells
  FROM rejected_rows r JOIN batches b ON b.id = r.batch_id
 WHERE r.batch_id = %(batch_id)s AND b.team_id = %(team_id)s AND {VISIBLE} AND r.line > %(line)s
 ORDER BY r.line
 LIMIT %(limit)s
"""


async def stream_refused(
    db: Database, *, team_id: int, batch_id: UUID
) -> AsyncIterator[list[RefusedRow]]:
    """Read the refused rows of a batch in the order of the file, a block at a time."""
    line = 0
    while True:
        async with (
            db.pool.connection() as conn,
            conn.cursor(row_factory=class_row(RefusedRow)) as cursor,
        ):
            await cursor.execute(
                REFUSED_ROWS,
                {
                    "batch_id": batch_id,
                    "team_id": team_id,
                    "line": line,
                    "limit": REJECTED_AT_ONCE,
                },
            )
            block = await cursor.fetchall()
        if not block:
            return
        yield block
        line = block[-1].line
