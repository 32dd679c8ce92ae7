"""Contract, section 3: the list of batches."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from batchyard.api.smartsend import queries
from batchyard.models import BatchState, Kind, Phase
from batchyard.store.db import Database
from tests.api.smartsend.conftest import Client, make_shipment
from tests.factories import make_batch, make_items

LIST = "/booking-batches"
NOON = datetime(2026, 3, 1, 12, 0, 0, 987654, tzinfo=UTC)
KEYS = [
    "uuid",
    "state",
    "reference",
    "identifier",
    "total_count",
    "completed_count",
    "failed_count",
    "progress",
    "created_at",
    "started_at",
    "finished_at",
]


async def test_an_empty_list(client: Client) -> None:
    answer = await client.get(LIST)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {
        "data": [],
        "meta": {
            "current_page": 1,
            "per_page": 100,
            "total": 0,
            "last_page": 1,
            "from": None,
            "to": None,
        },
    }


async def test_a_batch_has_its_eleven_keys_in_order(client: Client, db: Database) -> None:
    batch_id = await make_batch(
        db,
        team=client.team,
        state=BatchState.RUNNING,
        reference='Uge "9" æøå\n',
        identifier="erp-7",
        created_at=NOON,
        started_at=NOON + timedelta(seconds=1),
    )
    for n, phase, status in (
        (3, Phase.DONE, "booked"),
        (1, Phase.DONE, "failed"),
        (2, Phase.READY, "waiting"),
        (1, Phase.DONE, "canceled"),
    ):
        await make_items(db, team=client.team, batch_id=batch_id, n=n, phase=phase, status=status)

    [batch] = (await client.get(LIST)).json()["data"]

    assert list(batch) == KEYS
    assert batch == {
        "uuid": str(batch_id),
        "state": "processing",
        "reference": 'Uge "9" æøå\n',
        "identifier": "erp-7",
        "total_count": 6,
        "completed_count": 3,
        "failed_count": 1,
        "progress": 66,
        "created_at": "2026-03-01T12:00:00Z",
        "started_at": "2026-03-01T12:00:01Z",
        "finished_at": None,
    }
    assert (await client.get(f"{LIST}/{batch_id}")).json() == {"data": batch}


async def test_the_newest_batch_comes_first_ties_by_uuid(client: Client, db: Database) -> None:
    team = client.team
    older = await make_batch(db, team=team, created_at=NOON - timedelta(days=1))
    tied = [await make_batch(db, team=team, created_at=NOON) for _ in range(3)]
    newer = await make_batch(db, team=team, created_at=NOON + timedelta(microseconds=1))

    listed = [UUID(batch["uuid"]) for batch in (await client.get(LIST)).json()["data"]]

    assert listed == [newer, *sorted(tied, reverse=True), older]


@pytest.mark.parametrize(
    "query, meta",
    [
        ("", (1, 100, 7, 1, 1, 7)),
        ("?per_page=3", (1, 3, 7, 3, 1, 3)),
        ("?per_page=3&page=2", (2, 3, 7, 3, 4, 6)),
        ("?per_page=3&page=3", (3, 3, 7, 3, 7, 7)),
        ("?per_page=3&page=4", (4, 3, 7, 3, None, None)),
        ("?per_page=1000", (1, 1000, 7, 1, 1, 7)),
        ("?page=99999999999999999999999", (99999999999999999999999, 100, 7, 1, None, None)),
        ("?unknown=1&links=x", (1, 100, 7, 1, 1, 7)),
    ],
)
async def test_pages(
    client: Client, db: Database, query: str, meta: tuple[int | None, ...]
) -> None:
    for number in range(7):
        created_at = NOON - timedelta(minutes=number)
        await make_batch(db, team=client.team, reference=str(number), created_at=created_at)

    answer = await client.get(LIST + query)

    assert answer.status_code == 200
    body = answer.json()
    names = ("current_page", "per_page", "total", "last_page", "from", "to")
    assert list(body["meta"].items()) == list(zip(names, meta, strict=True))
    first, last = meta[4], meta[5]
    expected = [] if first is None or last is None else list(range(first - 1, last))
    assert [int(batch["reference"]) for batch in body["data"]] == expected


async def test_every_fault_of_the_query_is_named_at_once(client: Client) -> None:
    answer = await client.get(f"{LIST}?state=done&page=0&per_page=1001")

    assert answer.status_code == 422
    assert answer.json() == {
        "message": "The request is not valid.",
        "errors": {
            "state": ["This must be one of: open, queued, processing, completed, failed."],
            "page": ["This must be at least 1."],
            "per_page": ["This must be at most 1000."],
        },
    }


@pytest.mark.parametrize(
    "query",
    [
        "page=-1",
        "page=one",
        "page=",
        "page=1.5",
        "per_page=0",
        "per_page=all",
        "state=",
        "state=OPEN",
        "state=cancelled",
        "page=" + "9" * 5000,
    ],
)
async def test_a_value_out_of_range_is_422(client: Client, query: str) -> None:
    answer = await client.get(f"{LIST}?{query}")

    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == [query.partition("=")[0]]


async def test_only_what_the_team_may_see_is_listed_and_counted(
    client: Client, stranger: Client, db: Database
) -> None:
    team = client.team
    seen = await make_batch(db, team=team)
    hidden = [
        await make_batch(db, team=team, state=BatchState.CANCELLED),
        await make_batch(db, team=team, state=BatchState.IMPORTING),
        await make_batch(db, team=team, is_single=True),
        await make_batch(db, team=team, is_deleted=True),
        await make_batch(db, team=team, kind=Kind.CALL),
        await make_batch(db, team=stranger.team),
    ]

    body = (await client.get(LIST)).json()
    alone = [await client.get(f"{LIST}/{batch_id}") for batch_id in hidden]
    changed = [
        answer
        for batch_id in hidden
        for answer in (
            await client.post(f"{LIST}/{batch_id}/dispatch"),
            await client.add(str(batch_id), make_shipment()),
            await client.delete(f"{LIST}/{batch_id}"),
        )
    ]

    assert [batch["uuid"] for batch in body["data"]] == [str(seen)]
    assert body["meta"]["total"] == 1
    assert {answer.status_code for answer in [*alone, *changed]} == {404}


async def test_the_language_changes_no_code_or_key(client: Client, db: Database) -> None:
    await make_batch(db, team=client.team, state=BatchState.QUEUED)

    english = await client.get(LIST, headers={"Accept-Language": "en"})
    danish = await client.get(LIST, headers={"Accept-Language": "da"})

    assert english.content == danish.content


async def test_fifty_thousand_batches_are_read_by_the_index(client: Client, db: Database) -> None:
    async with db.transaction() as connection:
        await connection.execute(
            "INSERT INTO batches (id, team_id, kind, state, created_at, updated_at, finished_at)"
            " SELECT gen_random_uuid(), %(team)s, 'shipment',"
            "        CASE WHEN i %% 5 = 0 THEN 'open' ELSE 'completed' END,"
            "        %(now)s::timestamptz - i * interval '1 second', %(now)s, %(now)s"
            "   FROM generate_series(1, 50000) AS i",
            {"team": client.team.id, "now": NOON},
        )
        await connection.execute(
            "INSERT INTO batch_counts SELECT id, 'done', 'booked', 2 FROM batches"
        )
    async with db.pool.connection() as connection:
        await connection.execute("VACUUM ANALYZE batches")
        await connection.execute("ANALYZE batch_counts")
        plan = await connection.execute(
            "EXPLAIN " + queries.LIST_BATCHES.as_string(),
            {"team_id": client.team.id, "limit": 1000, "offset": 49_000, "lost_before": NOON},
        )
        steps = "\n".join(str(row[0]) for row in await plan.fetchall())

    last, of_state = await asyncio.gather(
        client.get(f"{LIST}?per_page=1000&page=50"), client.get(f"{LIST}?state=open&page=100")
    )

    assert "Index Only Scan using batches_listed" in steps
    assert (
        last.json()["meta"] | {"from": 49_001, "to": 50_000, "total": 50_000}
        == (last.json()["meta"])
    )
    assert [batch["total_count"] for batch in last.json()["data"]] == [2] * 1000
    assert of_state.json()["meta"]["total"] == 10_000
    assert {batch["state"] for batch in of_state.json()["data"]} == {"open"}


async def test_the_list_shows_what_the_calls_of_this_door_did(client: Client) -> None:
    first, second, third = [await client.make_batch(reference=name) for name in "abc"]
    await client.add(first, make_shipment())
    await client.post(f"{LIST}/{first}/dispatch")
    await client.delete(f"{LIST}/{second}")

    listed = (await client.get(LIST)).json()["data"]
    queued = (await client.get(f"{LIST}?state=queued")).json()["data"]

    assert [(batch["uuid"], batch["state"]) for batch in listed] == [
        (third, "open"),
        (first, "queued"),
    ]
    assert [batch["uuid"] for batch in queued] == [first]
