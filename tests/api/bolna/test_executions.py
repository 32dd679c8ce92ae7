"""The calls of a batch and its refused rows, as they go out."""

import csv
import io
from datetime import timedelta
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from batchyard.api.bolna import call_queries
from batchyard.lifecycle import STATUSES_BY_PHASE
from batchyard.models import Phase
from batchyard.operations import contacts, mends
from batchyard.store.db import Database
from tests.api.bolna.conftest import AGENT, Caller

RESULT = {
    "duration_seconds": 61,
    "ring_duration_seconds": 4.5,
    "cost_minor": 10,
    "currency": "USD",
    "transcript": "user: yes",
    "recording_url": None,
    "answered_by_voice_mail": False,
    "hangup_by": "recipient",
    "hangup_reason": "conversation_ended",
}


async def run(db: Database, statement: str, **values: object) -> None:
    async with db.transaction() as conn:
        await conn.execute(statement, values)


async def move_items(db: Database, *, phase: str, status: str) -> None:
    await run(
        db,
        "UPDATE items SET phase = %(phase)s, status = %(status)s, worker_id = 1,"
        " intent_at = now(), updated_at = %(now)s",
        phase=phase,
        status=status,
        now=db.clock(),
    )


async def statuses(caller: Caller, batch_id: UUID) -> tuple[list[str], dict[str, int]]:
    calls = (await caller.get(f"/batches/{batch_id}/executions")).json()
    batch = (await caller.get(f"/batches/{batch_id}")).json()
    return [call["status"] for call in calls], batch["execution_status"]


async def test_waiting_call_has_every_key(caller: Caller, db: Database) -> None:
    batch_id = await caller.upload_batch(
        "contact_number,First Name,amount\n+45 20123456,Ane,7\n", from_phone_number="+19876543007"
    )
    answer = await caller.get(f"/batches/{batch_id}/executions")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    (call,) = answer.json()
    async with db.pool.connection() as conn:
        cursor = await conn.execute("SELECT id, updated_at FROM items")
        row = await cursor.fetchone()
    assert row is not None
    at = f"{row[1]:%Y-%m-%dT%H:%M:%SZ}"
    assert call == {
        "id": str(row[0]),
        "agent_id": AGENT,
        "batch_id": batch_id.hex,
        "conversation_duration": None,
        "total_cost": None,
        "status": "prepared",
        "error_message": None,
        "answered_by_voice_mail": None,
        "transcript": None,
        "created_at": at,
        "updated_at": at,
        "cost_breakdown": dict.fromkeys(
            ["llm", "network", "platform", "synthesizer", "transcriber"]
        ),
        "telephony_data": {
            "duration": None,
            "to_number": "+4520123456",
            "from_number": "+19876543007",
            "recording_url": None,
            "hosted_telephony": None,
            "provider_call_id": None,
            "call_type": "outbound",
            "provider": None,
            "hangup_by": None,
            "hangup_reason": None,
            "hangup_provider_code": None,
            "ring_duration": None,
            "post_dial_delay": None,
            "to_number_carrier": None,
        },
        "transfer_call_data": None,
        "batch_run_details": {
            "status": "prepared",
            "created_at": at,
            "updated_at": at,
            "retried": 0,
        },
        "extracted_data": None,
        "context_details": {
            "recipient_data": {"First Name": "Ane", "amount": "7"},
            "recipient_phone_number": "+4520123456",
        },
    }


async def test_ended_call_tells_what_the_provider_knew(caller: Caller, db: Database) -> None:
    batch_id = await caller.upload_batch("contact_number\n+4520123456\n")
    await move_items(db, phase="done", status="completed")
    await run(
        db,
        "UPDATE item_data SET result = %(result)s, provider = 'sandbox',"
        " provider_reference = 'CA1', from_number = '+4520000000'",
        result=Jsonb(RESULT),
    )
    (call,) = (await caller.get(f"/batches/{batch_id}/executions")).json()
    assert call["status"] == "completed"
    assert (call["conversation_duration"], call["total_cost"]) == (61, 10)
    assert (call["transcript"], call["answered_by_voice_mail"]) == ("user: yes", False)
    telephony = call["telephony_data"]
    assert (telephony["duration"], telephony["ring_duration"]) == ("61", 4.5)
    assert (telephony["provider"], telephony["provider_call_id"]) == ("sandbox", "CA1")
    assert telephony["from_number"] == "+4520000000"
    assert telephony["hangup_by"] == "recipient"


async def test_cost_in_another_currency_is_not_shown_as_cents(caller: Caller, db: Database) -> None:
    batch_id = await caller.upload_batch()
    result = Jsonb({**RESULT, "currency": "EUR"})
    await run(db, "UPDATE item_data SET result = %(result)s", result=result)
    (call, _) = (await caller.get(f"/batches/{batch_id}/executions")).json()
    assert call["total_cost"] is None


@pytest.mark.parametrize(
    "state,word",
    [
        ("open", "prepared"),
        ("scheduled", "scheduled"),
        ("queued", "queued"),
        ("running", "queued"),
        ("paused", "queued"),
        ("stopped", "stopped"),
        ("cancelled", "canceled"),
    ],
)
async def test_waiting_call_is_called_by_the_state_of_its_batch(
    caller: Caller, db: Database, state: str, word: str
) -> None:
    batch_id = await caller.upload_batch()
    await run(db, "UPDATE batches SET state = %(s)s, scheduled_at = now()", s=state)
    assert await statuses(caller, batch_id) == ([word, word], {word: 2})


WORDS = {
    ("ready", "waiting"): "queued",
    ("ready", "rescheduled"): "rescheduled",
    ("ready", "retrying"): "scheduled",
    ("claimed", "waiting"): "queued",
    ("claimed", "rescheduled"): "rescheduled",
    ("claimed", "retrying"): "scheduled",
    ("calling", "sending"): "queued",
    ("unknown", "unknown"): "in-progress",
    **{("live", word): word for word in ("initiated", "ringing", "in-progress")},
    ("live", "call-disconnected"): "call-disconnected",
    **{
        ("done", word): word
        for word in (
            "completed",
            "no-answer",
            "busy",
            "failed",
            "error",
            "canceled",
            "stopped",
            "balance-low",
        )
    },
}


def test_every_status_of_a_call_is_tested() -> None:
    ours = {
        (str(phase), status)
        for phase in Phase
        for status in STATUSES_BY_PHASE[phase] - {"processing", "booked"}
    }
    assert ours == WORDS.keys()


async def test_status_is_the_same_in_the_calls_and_in_the_counts(
    caller: Caller, db: Database
) -> None:
    batch_id = await caller.upload_batch()
    await run(db, "UPDATE batches SET state = 'running'")
    for (phase, status), word in WORDS.items():
        await move_items(db, phase=phase, status=status)
        assert await statuses(caller, batch_id) == ([word, word], {word: 2}), (phase, status)


@pytest.mark.parametrize("status", ["waiting", "rescheduled", "retrying"])
@pytest.mark.parametrize("state,word", [("stopped", "stopped"), ("cancelled", "canceled")])
async def test_waiting_for_anything_ends_with_the_batch(
    caller: Caller, db: Database, status: str, state: str, word: str
) -> None:
    batch_id = await caller.upload_batch()
    await move_items(db, phase="ready", status=status)
    await run(db, "UPDATE batches SET state = %(state)s", state=state)
    assert await statuses(caller, batch_id) == ([word] * 2, {word: 2})


async def test_unknown_outcome_becomes_an_error_after_its_grace(
    caller: Caller, db: Database
) -> None:
    batch_id = await caller.upload_batch()
    await move_items(db, phase="unknown", status="unknown")
    long_ago = db.clock() - timedelta(seconds=3601)
    await run(
        db,
        "UPDATE items SET updated_at = %(at)s"
        " WHERE id = (SELECT id FROM items ORDER BY id LIMIT 1)",
        at=long_ago,
    )
    told, counted = await statuses(caller, batch_id)
    assert told == ["error", "in-progress"]
    assert counted == {"error": 1, "in-progress": 1}
    first = (await caller.get(f"/batches/{batch_id}/executions")).json()[0]
    assert first["error_message"] == "The outcome of this call is not known."


async def test_call_that_was_not_made_yet_has_no_error(caller: Caller, db: Database) -> None:
    """Why its provider refused it is told to those who operate it."""
    batch_id = await caller.upload_batch()
    await run(db, "UPDATE item_data SET error_code = 'http_429', error_message = 'Slow down'")
    calls = (await caller.get(f"/batches/{batch_id}/executions")).json()
    assert [call["error_message"] for call in calls] == [None, None]


async def test_retries_are_told_when_they_are_on(caller: Caller, db: Database) -> None:
    batch_id = await caller.upload_batch(
        "contact_number\n+4520123456\n", retry_config='{"enabled": true}'
    )
    history = [
        {"attempt": 1, "status": "busy", "ended_at": "2024-01-29T08:30:00.25+00:00"},
        {"attempt": 2, "status": "no-answer", "ended_at": "2024-01-29T09:30:00+00:00"},
    ]
    await run(
        db,
        "UPDATE items SET status = 'retrying', try = 3, due_at = '2024-01-29T10:30:00Z'",
    )
    await run(db, "UPDATE item_data SET attempts = %(history)s", history=Jsonb(history))
    (call,) = (await caller.get(f"/batches/{batch_id}/executions")).json()
    assert call["status"] == "scheduled"
    assert call["retry_count"] == call["batch_run_details"]["retried"] == 2
    assert call["scheduled_at"] == "2024-01-29T10:30:00Z"
    assert call["retry_history"] == [
        {"attempt": 1, "status": "busy", "at": "2024-01-29T08:30:00Z"},
        {"attempt": 2, "status": "no-answer", "at": "2024-01-29T09:30:00Z"},
    ]


async def test_several_from_numbers_take_turns(caller: Caller) -> None:
    numbers = ["+19876543007", "+19876543008", "+19876543009"]
    rows = "".join(f"+4520{number:06d}\n" for number in range(9))
    batch_id = await caller.upload_batch("contact_number\n" + rows, from_phone_numbers=numbers)
    calls = (await caller.get(f"/batches/{batch_id}/executions")).json()
    used = [call["telephony_data"]["from_number"] for call in calls]
    assert {number: used.count(number) for number in numbers} == dict.fromkeys(numbers, 3)


@pytest.mark.parametrize(
    "row",
    ["+4520{:06d},a\n12,b\n", "+4520{:06d},a\n\n", '"+4520{:06d}","a\nb"\n'],
    ids=["refused", "blank", "of two lines"],
)
async def test_lines_that_are_no_calls_take_no_turns(caller: Caller, row: str) -> None:
    numbers = ["+19876543007", "+19876543008"]
    rows = "".join(row.format(number) for number in range(10))
    batch_id = await caller.upload_batch("contact_number,x\n" + rows, from_phone_numbers=numbers)
    calls = (await caller.get(f"/batches/{batch_id}/executions")).json()
    used = [call["telephony_data"]["from_number"] for call in calls]
    assert used == numbers * 5


async def test_numbers_that_are_not_contacted_take_no_turns(caller: Caller, db: Database) -> None:
    numbers = ["+19876543007", "+19876543008"]
    for number in range(0, 10, 2):
        await contacts.add_do_not_contact(db, team=caller.team, number=f"+4520{number:06d}")
    rows = "".join(f"+4520{number:06d}\n" for number in range(10))
    batch_id = await caller.upload_batch("contact_number\n" + rows, from_phone_numbers=numbers)
    calls = (await caller.get(f"/batches/{batch_id}/executions")).json()
    used = [call["telephony_data"]["from_number"] for call in calls]
    assert used == [*numbers * 2, numbers[0]]


async def test_calls_stream_in_blocks_in_the_order_of_the_file(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_queries, "EXECUTIONS_AT_ONCE", 4)
    for count in (3, 4, 8, 9):
        rows = [f"+4520{number:06d}" for number in range(count)]
        batch_id = await caller.upload_batch("\n".join(["contact_number", *rows]))
        calls = (await caller.get(f"/batches/{batch_id}/executions")).json()
        assert [call["telephony_data"]["to_number"] for call in calls] == rows


async def test_calls_of_a_batch_without_good_rows_are_an_empty_array(caller: Caller) -> None:
    batch_id = await caller.upload_batch("contact_number\n12\n")
    assert (await caller.get(f"/batches/{batch_id}/executions")).content == b"[]"
    page = await caller.get(f"/batches/{batch_id}/executions?page_number=1")
    assert page.json() == {
        "page_number": 1,
        "page_size": 20,
        "total": 0,
        "has_more": False,
        "data": [],
    }


async def test_page_of_calls_says_where_it_is(caller: Caller) -> None:
    rows = [f"+4520{number:06d}" for number in range(5)]
    batch_id = await caller.upload_batch("\n".join(["contact_number", *rows]))

    async def page(number: int) -> tuple[list[str], bool, int]:
        path = f"/batches/{batch_id}/executions?page_number={number}&page_size=2"
        body = (await caller.get(path)).json()
        numbers = [call["telephony_data"]["to_number"] for call in body["data"]]
        return numbers, body["has_more"], body["total"]

    assert await page(1) == (rows[:2], True, 5)
    assert await page(3) == (rows[4:], False, 5)
    assert await page(4) == ([], False, 5)


async def test_refused_rows_come_back_in_their_columns(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mends, "ROWS_AT_ONCE", 2)
    content = 'Name;CONTACT_NUMBER\n"Å;b";+4520123456\n"Ø\nx";1.2E+9\nZ\na;b;c\nq;\n'
    batch_id = await caller.upload_batch(content.encode("latin-1"))
    answer = await caller.get(f"/batches/{batch_id}/errors.csv")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/csv")
    text = io.StringIO(answer.content.decode("utf-8-sig"), newline="")
    rows = list(csv.reader(text, delimiter=";"))
    assert rows[0] == ["Name", "CONTACT_NUMBER", "error_code", "error"]
    assert [row[:3] + row[4:] for row in rows[1:]] == [
        ["Ø\nx", "1.2E+9", "phone_scientific_notation"],
        ["Z", "", "phone_missing"],
        ["a", "b", "cells_extra", "c"],
        ["q", "", "phone_missing"],
    ]
    assert all(row[3] for row in rows)
