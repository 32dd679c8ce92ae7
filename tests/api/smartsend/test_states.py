"""Contract, section 2: states, counts and progress, against the plain rules in Python."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from batchyard.config import Config
from batchyard.models import BatchState, Phase
from batchyard.store.db import Database
from tests.api.smartsend.conftest import Client
from tests.factories import make_batch, make_items

S = BatchState
BATCH_WORDS = ("open", "queued", "processing", "completed", "failed")
SHIPMENT_WORDS = ("open", "queued", "processing", "booked", "failed", "cancelled")
GRACE = timedelta(seconds=Config().unknown_grace_seconds)

FRESH = "unknown, fresh"
LOST = "unknown, lost"
PHASES = {
    "waiting": Phase.READY,
    "retrying": Phase.READY,
    "sending": Phase.CALLING,
    "processing": Phase.LIVE,
    FRESH: Phase.UNKNOWN,
    LOST: Phase.UNKNOWN,
    "booked": Phase.DONE,
    "failed": Phase.DONE,
    "stopped": Phase.DONE,
    "canceled": Phase.DONE,
}


@dataclass(frozen=True)
class Case:
    state: BatchState
    items: dict[str, int]
    shown: str
    counts: tuple[int, int, int, int]
    """total, completed, failed, progress"""


CASES = [
    Case(S.OPEN, {}, "open", (0, 0, 0, 0)),
    Case(S.OPEN, {"waiting": 3}, "open", (3, 0, 0, 0)),
    Case(S.SCHEDULED, {"waiting": 3}, "queued", (3, 0, 0, 0)),
    Case(S.QUEUED, {"waiting": 3, "canceled": 1}, "queued", (3, 0, 0, 0)),
    Case(
        S.RUNNING,
        {"booked": 2, "failed": 1, "sending": 3, "retrying": 1},
        "processing",
        (7, 2, 1, 42),
    ),
    Case(S.RUNNING, {"booked": 199, "processing": 1}, "processing", (200, 199, 0, 99)),
    Case(S.RUNNING, {"booked": 1, FRESH: 1}, "processing", (2, 1, 0, 50)),
    Case(S.RUNNING, {"booked": 1, FRESH: 1, LOST: 2}, "processing", (4, 1, 2, 75)),
    Case(S.PAUSED, {"waiting": 1, "booked": 1}, "processing", (2, 1, 0, 50)),
    Case(S.COMPLETED, {"booked": 1, "failed": 2}, "completed", (3, 1, 2, 100)),
    Case(S.FAILED, {"failed": 2}, "failed", (2, 0, 2, 100)),
    Case(S.STOPPED, {"waiting": 2}, "failed", (2, 0, 2, 100)),
    Case(S.STOPPED, {"waiting": 2, "booked": 1}, "completed", (3, 1, 2, 100)),
    Case(S.STOPPED, {"stopped": 1, "retrying": 1, "canceled": 4}, "failed", (2, 0, 2, 100)),
    Case(S.STOPPED, {"waiting": 2, "booked": 1, "processing": 1}, "processing", (4, 1, 2, 75)),
    Case(S.STOPPED, {"waiting": 1, FRESH: 1}, "processing", (2, 0, 1, 50)),
    Case(S.STOPPED, {"waiting": 1, LOST: 1}, "failed", (2, 0, 2, 100)),
    Case(S.STOPPED, {}, "failed", (0, 0, 0, 0)),
]


def shown_shipment(state: BatchState, status: str) -> str:
    """The rule in plain words."""
    if status in {"waiting", "retrying"}:
        waiting = {S.OPEN: "open", S.STOPPED: "failed"}
        return waiting.get(state, "queued")
    words = {"sending": "processing", FRESH: "processing", LOST: "failed", "stopped": "failed"}
    return words.get(status, "cancelled" if status == "canceled" else status)


async def make_case(client: Client, db: Database, case: Case) -> str:
    batch_id = await make_batch(db, team=client.team, state=case.state)
    for status, n in case.items.items():
        age = GRACE if status == LOST else GRACE / 2
        await make_items(
            db,
            team=client.team,
            batch_id=batch_id,
            n=n,
            phase=PHASES[status],
            status="unknown" if status in {FRESH, LOST} else status,
            updated_at=db.clock() - age,
        )
    return str(batch_id)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.state}-{case.items}")
async def test_a_batch_shows_its_state_and_counts(client: Client, db: Database, case: Case) -> None:
    batch_id = await make_case(client, db, case)

    batch = (await client.get(f"/booking-batches/{batch_id}")).json()["data"]

    counts = ("total_count", "completed_count", "failed_count", "progress")
    assert (batch["state"], *(batch[name] for name in counts)) == (case.shown, *case.counts)
    assert (batch["finished_at"] is not None) == (batch["state"] in {"completed", "failed"})


async def test_every_state_filter_finds_exactly_its_batches(client: Client, db: Database) -> None:
    shown = {await make_case(client, db, case): case.shown for case in CASES}

    for word in BATCH_WORDS:
        body = (await client.get(f"/booking-batches?state={word}")).json()
        expected = {batch_id for batch_id, state in shown.items() if state == word}
        assert {batch["uuid"] for batch in body["data"]} == expected
        assert {batch["state"] for batch in body["data"]} <= {word}
        assert body["meta"]["total"] == len(expected)


async def test_every_shipment_filter_finds_exactly_its_shipments(
    client: Client, db: Database
) -> None:
    for state in (S.OPEN, S.SCHEDULED, S.RUNNING, S.PAUSED, S.STOPPED):
        case = Case(state, dict.fromkeys(PHASES, 2), "", (0, 0, 0, 0))
        path = f"/booking-batches/{await make_case(client, db, case)}/shipments"
        expected = [word for word in PHASES for _ in range(2)]
        body = (await client.get(path)).json()
        assert [one["state"] for one in body["data"]] == [
            shown_shipment(state, status) for status in expected
        ]
        assert body["meta"]["total"] == len(expected)
        for word in SHIPMENT_WORDS:
            filtered = (await client.get(f"{path}?state={word}")).json()
            assert filtered["data"] == [one for one in body["data"] if one["state"] == word]
            assert filtered["meta"]["total"] == len(filtered["data"])
