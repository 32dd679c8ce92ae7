"""A person is erased from the whole database, and what is old is taken out; counts stay."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from psycopg.types.json import Jsonb

from batchyard.app import build_app
from batchyard.config import Config
from batchyard.errors import InvalidRequest
from batchyard.models import BatchState, Kind, Phase, Team
from batchyard.operations import privacy, retention
from batchyard.operations.audit import Actor, audited
from batchyard.store import privacy as stored
from batchyard.store import programs
from batchyard.store.db import Connection, Database
from batchyard.store.person_sources import LINES
from batchyard.store.stretches import Stretch
from tests import factories

NUMBER = "+4520000001"
WRITTEN = "0045 20 00-00 01"
OTHER = "+4599999999"
SPARSE = (
    "+45\u00a020\u00a000\u00a000\u00a001",
    "+45 20\u201300\u201300\u201301",
    "(+45) [20] - 00 - 00 - 01",
    "+45 20 / 00.00\t01",
    "\u202a+4520\u200b000\u2212001\u202c",
)
"""Writings that intake forgives, or that are no number to it but one to a reader."""
NAME = "Ingeborg Testesen"
EMAIL = "ingeborg@example.com"
ACTOR = Actor(name="test")


async def run(db: Database, statement: str, *values: object) -> list[tuple[object, ...]]:
    async with db.transaction() as conn:
        cursor = await conn.execute(statement.encode(), values)
        return await cursor.fetchall() if cursor.description else []


async def counts(db: Database, batch_id: UUID) -> dict[str, int]:
    rows = await run(
        db, "SELECT status, n FROM batch_counts WHERE batch_id = %s AND n <> 0", batch_id
    )
    return {str(status): int(str(n)) for status, n in rows}


async def fill(db: Database, team: Team) -> UUID:
    """Put a person everywhere one can be."""
    person = {"name": NAME, "phone": WRITTEN, "email": EMAIL}
    batch_id = await factories.make_batch(
        db, team=team, kind=Kind.CALL, state=BatchState.PAUSED, reference=f"call {NUMBER}"
    )
    for phase, status in ((Phase.DONE, "completed"), (Phase.READY, "waiting")):
        await factories.make_items(
            db,
            team=team,
            batch_id=batch_id,
            payload=person,
            number=NUMBER,
            phase=phase,
            status=status,
        )
    await factories.make_items(
        db, team=team, batch_id=batch_id, payload={"name": "Other"}, number=OTHER
    )
    (item_id,) = (await run(db, "SELECT id FROM items WHERE status = 'completed'"))[0]
    result = Jsonb({"transcript": f"Hello {NAME}", "summary": WRITTEN})
    earlier = {"transcript": f"{NAME} is not at home"}
    attempts = Jsonb([{"attempt": 1, "error_message": f"{NAME} hung up", "result": earlier}])
    for statement, values in (
        (
            "UPDATE item_data SET result = %s, attempts = %s WHERE item_id = %s",
            (result, attempts, item_id),
        ),
        (
            (
                "INSERT INTO documents (id, item_id, kind, format, content, created_at)"
                " VALUES (gen_random_uuid(), %s, 'label', 'pdf', %s, now())"
            ),
            (item_id, NAME.encode()),
        ),
        (
            (
                "INSERT INTO rejected_rows (batch_id, line, code, reason, cells)"
                " VALUES (%s, 9, 'number_invalid', %s, %s)"
            ),
            (batch_id, f"{WRITTEN} is wrong", Jsonb([NAME, WRITTEN])),
        ),
        *(
            (
                (
                    "INSERT INTO rejected_rows (batch_id, line, code, reason, cells)"
                    " VALUES (%s, %s, 'row_too_long', 'too long', %s)"
                ),
                (batch_id, line, Jsonb([NAME, written])),
            )
            for line, written in enumerate(SPARSE, start=10)
        ),
        *(
            (
                (
                    "INSERT INTO idempotency (team_id, key, fingerprint, status, body, created_at)"
                    " VALUES (%s, %s, 'f', 200, %s, now())"
                ),
                (team.id, f"sparse-{line}", f'{{"to": "{written}", "name": "{NAME}"}}'.encode()),
            )
            for line, written in enumerate(SPARSE)
        ),
        (
            "INSERT INTO row_warnings (batch_id, line, code, reason) VALUES (%s, 9, 'x', %s)",
            (batch_id, f"{WRITTEN} twice"),
        ),
        (
            (
                "INSERT INTO do_not_contact (team_id, number, reason, source, created_at)"
                " VALUES (%s, %s, %s, 'person', now())"
            ),
            (team.id, NUMBER, NAME),
        ),
        (
            (
                "INSERT INTO do_not_contact (team_id, number, reason, source, created_at)"
                " VALUES (%s, %s, %s, 'person', now())"
            ),
            (team.id, OTHER, f"asked by {EMAIL}, {WRITTEN}"),
        ),
        (
            (
                "INSERT INTO contact_attempts (team_id, number, item_id, try, sent_at)"
                " VALUES (%s, %s, %s, 1, now())"
            ),
            (team.id, NUMBER, item_id),
        ),
        (
            (
                "INSERT INTO idempotency (team_id, key, fingerprint, status, body, created_at)"
                " VALUES (%s, 'k', 'f', 200, %s, now())"
            ),
            (team.id, f'{{"to": "{NUMBER}", "name": "{NAME}"}}'.encode()),
        ),
        (
            (
                "INSERT INTO webhook_endpoints (team_id, url, format, created_at)"
                " VALUES (%s, 'http://x', 'bolna', now())"
            ),
            (team.id,),
        ),
        (
            (
                "INSERT INTO webhook_deliveries (endpoint_id, team_id, batch_id, item_id, number,"
                " type, data, due_at, expires_at, created_at)"
                " SELECT id, %s, %s, %s, 1, 'item.completed', %s,"
                " now(), now(), now() FROM webhook_endpoints"
            ),
            (team.id, batch_id, item_id, Jsonb({"result": NAME})),
        ),
    ):
        await run(db, statement, *values)
    async with audited(db, team=team, actor=ACTOR, action="item.correct", before=person):
        pass
    return batch_id


def dump(url: str, server: str) -> str:
    user = programs.server_user()
    version = int(os.environ.get("BATCHYARD_TEST_PG") or 18)
    pg_dump = programs.find(version, spare_folder=Path(server) / "programs") / "pg_dump"
    return subprocess.run(
        [str(pg_dump), "--dbname", url, "--inserts"],
        user=user.pw_uid if user else None,
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize(
    "who", [{"number": NUMBER, "email": None}, {"number": None, "email": EMAIL}]
)
async def test_erased_person_is_in_no_dump_and_counts_stay(
    db: Database, database_url: str, postgres_folder: str, who: dict[str, str | None]
) -> None:
    team = await factories.make_team(db)
    batch_id = await fill(db, team)
    before = dump(database_url, postgres_folder)
    assert NUMBER in before
    assert NAME in before
    assert (await counts(db, batch_id)) == {"completed": 1, "waiting": 2}

    done = await privacy.erase_person(
        db, team=team, actor=ACTOR, number=who["number"], email=who["email"]
    )

    assert (done.items, done.pending, done.documents) == (2, 0, 1)
    assert (await counts(db, batch_id)) == {"completed": 1, "canceled": 1, "waiting": 1}
    refused = await run(db, "SELECT count(*) FROM rejected_rows")
    assert refused == [(1 + len(SPARSE),)]
    assert await run(db, "SELECT reason FROM do_not_contact WHERE number = %s", OTHER) == [(None,)]
    after = dump(database_url, postgres_folder)
    assert "Other" in after
    if who["number"]:
        for trace in (NUMBER, WRITTEN, NAME, NUMBER[1:], EMAIL, "20 00-00 01", *SPARSE):
            assert trace not in after, trace
    else:
        assert EMAIL not in after


async def test_item_in_flight_is_erased_once_it_has_ended(
    db: Database, database_url: str, postgres_folder: str
) -> None:
    team = await factories.make_team(db)
    batch_id = await factories.make_batch(db, team=team, state=BatchState.RUNNING)
    await factories.make_items(
        db,
        team=team,
        batch_id=batch_id,
        number=NUMBER,
        phase=Phase.LIVE,
        status="ringing",
        payload={"name": NAME},
    )
    done = await privacy.erase_person(db, team=team, actor=ACTOR, number=NUMBER, email=None)
    assert (done.items, done.pending) == (0, 1)
    await privacy.erase_pending(db)
    assert NAME in dump(database_url, postgres_folder)

    await run(db, "UPDATE items SET phase = 'done', status = 'completed'")
    await privacy.erase_pending(db)

    assert NAME not in dump(database_url, postgres_folder)
    assert (await counts(db, batch_id)) == {"completed": 1}


async def export(db: Database, team: Team) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    pages = await privacy.export_person(db, team=team, actor=ACTOR, number=NUMBER, email=None)
    async for kind, rows in pages:
        found.setdefault(kind, []).extend(rows)
    return found


async def add_traces(db: Database, team: Team, batch_id: UUID) -> None:
    """Put the person where an erasure looks as well."""
    ((item_id,),) = await run(db, "SELECT id FROM items WHERE status = 'completed'")
    position = "(SELECT position FROM item_data WHERE item_id = %s)"
    for statement, values in (
        (
            (
                "INSERT INTO uploads (id, team_id, batch_id, file_name, created_at, updated_at)"
                " VALUES (gen_random_uuid(), %s, %s, %s, now(), now())"
            ),
            (team.id, batch_id, f"{NUMBER}.csv"),
        ),
        (
            (
                "INSERT INTO staged_mends (upload_id, line, is_refused, number)"
                " SELECT id, 1, false, %s FROM uploads"
            ),
            (NUMBER,),
        ),
        (
            (
                "INSERT INTO events (team_id, batch_id, item_id, type, data, at)"
                " VALUES (%s, %s, %s, 'item.completed', '{\"n\": 1}', now())"
            ),
            (team.id, batch_id, item_id),
        ),
        (
            (
                "INSERT INTO events (team_id, batch_id, type, data, at)"
                " VALUES (%s, %s, 'x', %s, now())"
            ),
            (team.id, batch_id, Jsonb({"to": WRITTEN})),
        ),
        (
            (
                "INSERT INTO row_warnings (batch_id, line, code, reason)"
                f" VALUES (%s, {position}, 'phone_unassigned_range', 'about this line')"
            ),
            (batch_id, item_id),
        ),
        (
            (
                "INSERT INTO bookings (id, team_id, item_id, key, created_at)"
                " VALUES (gen_random_uuid(), %s, %s, 'k', now())"
            ),
            (team.id, item_id),
        ),
    ):
        await run(db, statement, *values)


async def test_export_shows_all_of_one_person_and_nobody_else(db: Database) -> None:
    team = await factories.make_team(db)
    batch_id = await fill(db, team)
    await add_traces(db, team, batch_id)
    found = await export(db, team)
    assert {kind: len(rows) for kind, rows in found.items()} == {
        "items": 2,
        "documents": 1,
        "bookings": 1,
        "number_claims": 0,
        "refused_rows": 1 + len(SPARSE),
        "warnings": 2,
        "webhook_deliveries": 1,
        "idempotency_keys": 0,
        "idempotency_bodies": 1 + len(SPARSE),
        "failure_reasons": 0,
        "staged_rows": 1,
        "do_not_contact_reasons": 1,
        "do_not_contact": 1,
        "contact_attempts": 1,
        "events": 2,
        "batches": 1,
        "uploads": 1,
        "audit_entries": 1,
    }
    assert "Other" not in str(found)
    stranger = await factories.make_team(db)
    assert not any((await export(db, stranger)).values())


async def test_export_shows_whatever_an_erasure_takes_out(db: Database) -> None:
    team = await factories.make_team(db)
    batch_id = await fill(db, team)
    await add_traces(db, team, batch_id)
    found = await export(db, team)
    done = await privacy.erase_person(db, team=team, actor=ACTOR, number=NUMBER, email=None)
    assert set(done.others) < set(found)
    assert {kind for kind, n in done.others.items() if n} <= {
        kind for kind, rows in found.items() if rows
    }
    left = await export(db, team)
    assert {kind for kind, rows in left.items() if rows} == set()


async def test_export_begins_at_once_and_looks_in_many_batches_at_a_time(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy, "SEARCHED", 4)
    monkeypatch.setattr(privacy, "SLICE", 7)
    team = await factories.make_team(db)
    sizes = (1, 2, 1, 9, 0, 0, 1, 1)
    batches = sorted([await factories.make_batch(db, team=team, kind=Kind.CALL) for _ in sizes])
    for batch_id, n in zip(batches, sizes, strict=True):
        if n:
            await factories.make_items(db, team=team, batch_id=batch_id, n=n, number=NUMBER)
    looked_in: list[Sequence[object]] = []
    found: list[int] = []
    read = stored.read

    async def note(
        conn: Connection,
        person: stored.Person,
        stretch: Stretch,
        *,
        item_ids: Sequence[UUID],
    ) -> Mapping[str, str]:
        rows = await read(conn, person, stretch, item_ids=item_ids)
        if stretch.source is LINES:
            looked_in.append(stretch.owners)
            found.append(len(rows))
        return rows

    monkeypatch.setattr(stored, "read", note)
    pages = await privacy.export_person(db, team=team, actor=ACTOR, number=NUMBER, email=None)
    assert (await anext(pages), looked_in) == (("items", []), [])
    shown = [row async for kind, rows in pages for row in rows if kind == "items"]
    assert len(shown) == sum(sizes)
    large = batches[3:4]
    assert looked_in == [batches[:2], batches[2:3], large, large, large, batches[4:7], batches[7:]]
    assert found == [3, 1, 4, 4, 1, 1, 1]


async def test_export_comes_in_pages_and_tells_each_row_once(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy, "SLICE", 2)
    team = await factories.make_team(db)
    batch_id = await factories.make_batch(
        db, team=team, kind=Kind.CALL, state=BatchState.COMPLETED, reference=NUMBER
    )
    items = await factories.make_items(db, team=team, batch_id=batch_id, n=5, number=NUMBER)
    for item_id in items:
        await run(
            db,
            "INSERT INTO events (team_id, batch_id, item_id, type, data, at)"
            " VALUES (%s, %s, %s, 'x', %s, now())",
            team.id,
            batch_id,
            item_id,
            Jsonb({"also": [str(one) for one in items]}),
        )
    found = await export(db, team)
    assert (len(found["items"]), len(found["events"]), len(found["batches"])) == (5, 5, 1)
    for rows in found.values():
        assert len(set(rows)) == len(rows)


@pytest.mark.parametrize(
    "who", [(None, None), (NUMBER, EMAIL), ("20000001", None), (None, "nobody")]
)
async def test_person_has_to_be_named(db: Database, who: tuple[str | None, str | None]) -> None:
    team = await factories.make_team(db)
    with pytest.raises(InvalidRequest):
        privacy.find_person(team, number=who[0], email=who[1])


async def test_old_things_are_taken_out_and_young_ones_stay(db: Database) -> None:
    team = await factories.make_team(db)
    old, young = [
        await factories.make_batch(db, team=team, state=BatchState.COMPLETED) for _ in range(2)
    ]
    for batch_id in (old, young):
        await factories.make_items(
            db,
            team=team,
            batch_id=batch_id,
            payload={"name": NAME},
            phase=Phase.DONE,
            status="booked",
        )
    await run(db, 'UPDATE item_data SET result = \'{"transcript": "hello", "cost": 1}\'')
    ended = db.clock() - timedelta(days=10)
    await run(db, "UPDATE batches SET finished_at = %s WHERE id = %s", ended, old)
    await run(db, "UPDATE events SET at = %s WHERE batch_id = %s", ended, old)
    await retention.set_days(db, team=team, days={"transcripts_days": 5, "events_days": 5})

    await retention.expire(db)

    query = "SELECT payload, result FROM item_data WHERE batch_id = %s"
    assert await run(db, query, old) == [({"name": NAME}, {"cost": 1})]
    assert await run(db, query, young) == [({"name": NAME}, {"transcript": "hello", "cost": 1})]
    assert await run(db, "SELECT DISTINCT batch_id FROM events") == [(young,)]

    await retention.set_days(db, team=team, days={"items_days": 5})
    await retention.expire(db)

    assert await run(db, query, old) == [({"expired": True}, None)]
    assert (await counts(db, old)) == {"booked": 1}
    assert await run(db, "SELECT expired FROM batches WHERE id = %s", old) == [
        (["transcripts", "items"],)
    ]


@pytest.mark.parametrize("kind", [Kind.SHIPMENT, Kind.CALL])
async def test_erased_item_is_still_shown_by_the_doors(db: Database, kind: Kind) -> None:
    team = await factories.make_team(db)
    status = "booked" if kind is Kind.SHIPMENT else "completed"
    batch_id = await factories.make_batch(db, team=team, kind=kind, state=BatchState.COMPLETED)
    await factories.make_items(
        db,
        team=team,
        batch_id=batch_id,
        payload={"receiver": {"phone": NUMBER, "name": NAME}},
        number=NUMBER,
        phase=Phase.DONE,
        status=status,
    )
    await privacy.erase_person(db, team=team, actor=ACTOR, number=NUMBER, email=None)
    token = await factories.make_token(db, team=team)
    paths = {
        Kind.SHIPMENT: f"/api/v2/team/{team.slug}/booking-batches/{batch_id}/shipments",
        Kind.CALL: f"/batches/{batch_id}/executions",
    }
    transport = httpx.ASGITransport(app=build_app(Config(), db))
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    async with httpx.AsyncClient(transport=transport, base_url="http://t", headers=headers) as http:
        for path in (paths[kind], f"/api/v1/batches/{batch_id}/results.csv"):
            answer = await http.get(path)
            assert answer.status_code == 200, (path, answer.text)
            assert NAME not in answer.text
