"""Whole batches through a fake Karrio server, with workers that are killed between the steps."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from batchyard.config import Config
from batchyard.encryption import Vault
from batchyard.engine.worker import run_worker
from batchyard.errors import Conflict, NotFound, ProviderError
from batchyard.intake.shipment_shape import Sender
from batchyard.models import BatchState, JsonObject, Kind, Team
from batchyard.operations import providers, senders
from batchyard.operations.audit import Actor
from batchyard.operations.providers import add_provider, set_route
from batchyard.operations.voids import void_shipment
from batchyard.providers import karrio
from batchyard.store import queue
from batchyard.store.db import Database
from tests.cli.commands import running
from tests.engine.conftest import Yard
from tests.factories import make_batch, make_items, make_team
from tests.providers.fakes.karrio_state import PDF, TEST_KEY
from tests.providers.karrio_judge import KarrioJudge, faking
from tests.providers.karrio_requests import PATIENT_SECONDS, SENDER, TIMEOUTS, changed

KEY = "a key of these tests, long enough"
PATIENT = dict.fromkeys(TIMEOUTS.values(), PATIENT_SECONDS)
HASTY: dict[str, Any] = dict.fromkeys(TIMEOUTS.values(), 1.0)
"""A lost answer is asked for once these are over."""
WITHOUT_SENDER = changed(parties__sender=None)
SILENT = "UPDATE workers SET beat_at = beat_at - interval '1 minute' WHERE ended_at IS NULL"
DUE_IN = """
UPDATE items SET deadline_at = now() + %s::interval WHERE phase = 'calling' RETURNING id
"""


@pytest.fixture(scope="module")
def server() -> Iterator[KarrioJudge]:
    with faking() as judge:
        yield judge


@pytest.fixture
def judge(server: KarrioJudge) -> Iterator[KarrioJudge]:
    server.forget()
    yield server
    assert server.books()["violations"] == []
    assert set(server.purchases().values()) <= {1}


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


@pytest.fixture
def yard(db: Database, team: Team) -> Yard:
    return Yard(db, team.id)


async def lead_to(
    db: Database,
    team: Team,
    judge: KarrioJudge,
    *,
    has_sender: bool = True,
    **settings: object,
) -> None:
    """Lead the team's shipments to the fake, and give it a sender."""
    await add_provider(
        db,
        Vault(KEY),
        name="karrio",
        kind="karrio",
        settings={"url": judge.url, "concurrency": 30, **PATIENT, **settings},
        secret=TEST_KEY,
        allow_private=True,
    )
    await set_route(db, team=team, kind=Kind.SHIPMENT, agent_id=None, provider="karrio")
    if has_sender:
        sender = Sender.model_validate(SENDER)
        await senders.set_sender(db, team=team, sender=sender, actor=Actor(name="test"))


async def dispatch(
    db: Database, team: Team, *, items: int = 1, payload: JsonObject = WITHOUT_SENDER
) -> UUID:
    """Let a batch of shipments run."""
    batch_id = await make_batch(db, team=team, state=BatchState.QUEUED)
    await make_items(db, team=team, batch_id=batch_id, n=items, payload=payload)
    async with db.transaction() as conn:
        await queue.wake(conn, team_id=team.id, now=db.clock())
    return batch_id


@asynccontextmanager
async def working(db: Database) -> AsyncIterator[None]:
    """Run a worker in this process."""
    stop = asyncio.Event()
    config = Config.model_validate({"stop_seconds": 2, "secret_key": KEY})
    worker = asyncio.create_task(run_worker(config, db, stop=stop))
    try:
        yield
    finally:
        stop.set()
        await worker


async def test_batch_over_a_bad_line_ends_with_one_purchase_an_item(
    yard: Yard, team: Team, judge: KarrioJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = ["reset_after", "broken", "garbage_after"] * 3
    # Whichever items they hit, and however slow the machine, no draft is given up.
    monkeypatch.setattr(karrio, "DRAFT_TRIES", 1000)
    await lead_to(yard.db, team, judge, **HASTY)
    judge.spoil("draft", "busy", *lost)
    judge.spoil("purchase", "bad_gateway_after")
    judge.spoil_some("purchase", reset_after=0.2, bad_gateway_after=0.2, garbage_after=0.1)
    judge.spoil("read", "broken")
    batch_id = await dispatch(yard.db, team, items=30)

    async with working(yard.db):
        await yard.until_ended(batch_id)

    assert await yard.counts(batch_id) == {"booked": 30}
    books = judge.books()
    assert len(books["purchases"]) == 30
    assert {"busy", "reset_after", "broken", "bad_gateway_after"} <= set(books["faults"])
    assert await yard.value("SELECT count(*) FROM documents WHERE content = %s", [PDF]) == 30
    assert await yard.value("SELECT count(DISTINCT provider_reference) FROM item_data") == 30


async def test_shipment_without_a_sender_fails_and_says_what_to_do(
    yard: Yard, team: Team, judge: KarrioJudge
) -> None:
    await lead_to(yard.db, team, judge, has_sender=False)
    batch_id = await dispatch(yard.db, team)

    async with working(yard.db):
        assert await yard.until_ended(batch_id) == "failed"

    assert await yard.value("SELECT error_code FROM item_data") == "sender_missing"
    assert "batchyard sender set" in str(await yard.value("SELECT error_message FROM item_data"))
    assert "draft" not in judge.books()["arrivals"]


async def test_address_the_carrier_refuses_fails_in_its_words(
    yard: Yard, team: Team, judge: KarrioJudge
) -> None:
    await lead_to(yard.db, team, judge)
    judge.spoil("purchase", "carrier_refuses")
    batch_id = await dispatch(yard.db, team)

    async with working(yard.db):
        assert await yard.until_ended(batch_id) == "failed"

    assert await yard.value("SELECT error_code FROM item_data") == "carrier_refused"
    said = await yard.value("SELECT error_message FROM item_data")
    assert said == "The postal code is not served. (111057)"


async def test_half_recorded_purchase_is_left_to_a_person(
    yard: Yard, team: Team, judge: KarrioJudge
) -> None:
    await lead_to(yard.db, team, judge, ask_patience_seconds=0, **HASTY)
    judge.spoil("purchase", "half_broken_after")
    batch_id = await dispatch(yard.db, team)

    async with working(yard.db):
        await yard.until("SELECT phase = 'unknown' FROM items")

    assert await yard.counts(batch_id) == {"unknown": 1}
    assert await yard.value("SELECT error_code FROM item_data") == "half_recorded"
    said = str(await yard.value("SELECT error_message FROM item_data"))
    assert "The carrier said yes, but Karrio did not record the booking." in said
    assert str(await yard.value("SELECT provider_reference FROM item_data")) in said
    books = judge.books()
    assert list(books["purchases"].values()) == [1]
    assert books["arrivals"]["purchase"] == 1


async def test_wrong_credentials_pause_the_provider_and_fail_nothing(
    yard: Yard, team: Team, judge: KarrioJudge
) -> None:
    await lead_to(yard.db, team, judge)
    judge.spoil("draft", *["denied"] * 10)
    batch_id = await dispatch(yard.db, team, items=3)

    async with working(yard.db):
        await yard.until("SELECT paused_reason IS NOT NULL FROM providers WHERE name = 'karrio'")
        await yard.until("SELECT bool_and(phase = 'ready') FROM items")
        assert await yard.counts(batch_id) == {"waiting": 3}
        judge.forget()
        reason = await providers.resume_provider(yard.db, name="karrio")
        assert reason is not None
        assert reason.startswith("Karrio refuses the API key: Given token not valid")
        assert await yard.until_ended(batch_id) == "completed"

    assert set(judge.purchases().values()) == {1}


async def test_price_and_number_reach_the_books(yard: Yard, team: Team, judge: KarrioJudge) -> None:
    await lead_to(yard.db, team, judge)
    batch_id = await dispatch(yard.db, team)

    async with working(yard.db):
        await yard.until_ended(batch_id)

    assert await yard.value("SELECT result -> 'price_minor' FROM item_data") == 4550
    code = await yard.value("SELECT result #>> '{parcels,0,tracking_code}' FROM item_data")
    assert code == "T000000001"
    sent = await yard.value("SELECT payload -> 'parties' -> 'sender' FROM item_data")
    assert sent is None


@pytest.mark.parametrize("carrier,is_told", [("post-nord", False), ("car_2", True)])
async def test_booking_is_taken_back_and_said_whether_the_carrier_knows(
    yard: Yard, team: Team, judge: KarrioJudge, *, carrier: str, is_told: bool
) -> None:
    await lead_to(yard.db, team, judge)
    service = "ups_standard" if carrier == "car_2" else "standard_service"
    delivery = {"carrier": carrier, "service": service}
    payload = changed(parties__sender=None, delivery=delivery)
    batch_id = await dispatch(yard.db, team, payload=payload)
    async with working(yard.db):
        await yard.until_ended(batch_id)
    item_id = UUID(str(await yard.value("SELECT id FROM items")))

    voided = await void_shipment(
        yard.db, Vault(KEY), team=team, item_id=item_id, actor=Actor(name="test")
    )

    assert voided.is_carrier_told is is_told
    assert ("cancel it with the carrier too" in voided.sentence) is not is_told
    assert list(judge.books()["statuses"].values()) == ["cancelled"]
    assert await yard.value("SELECT result #> '{voided,is_carrier_told}' FROM item_data") is is_told
    assert await yard.value("SELECT action FROM audit_log ORDER BY id DESC") == "shipment.void"
    again = await void_shipment(
        yard.db, Vault(KEY), team=team, item_id=item_id, actor=Actor(name="test")
    )
    assert again == voided
    assert await yard.value("SELECT count(*) FROM audit_log WHERE action = 'shipment.void'") == 1


async def test_what_was_not_booked_or_is_refused_is_not_taken_back(
    yard: Yard, team: Team, judge: KarrioJudge
) -> None:
    await lead_to(yard.db, team, judge)
    waiting = await make_batch(yard.db, team=team)
    [item_id] = await make_items(yard.db, team=team, batch_id=waiting)
    with pytest.raises(Conflict, match="this one is waiting"):
        await void_shipment(
            yard.db, Vault(KEY), team=team, item_id=item_id, actor=Actor(name="test")
        )
    batch_id = await dispatch(yard.db, team)
    async with working(yard.db):
        await yard.until_ended(batch_id)
    booked = UUID(str(await yard.value("SELECT id FROM items WHERE status = 'booked'")))
    judge.spoil("cancel", "carrier_refuses")

    with pytest.raises(ProviderError, match="The postal code is not served"):
        await void_shipment(
            yard.db, Vault(KEY), team=team, item_id=booked, actor=Actor(name="test")
        )

    assert (
        await yard.value("SELECT result ? 'voided' FROM item_data WHERE item_id = %s", [booked])
        is False
    )
    with pytest.raises(NotFound):
        await void_shipment(
            yard.db, Vault(KEY), team=team, item_id=uuid4(), actor=Actor(name="test")
        )


@pytest.mark.acceptance
async def test_worker_killed_between_the_steps_buys_nothing_twice(
    yard: Yard, team: Team, judge: KarrioJudge, tmp_path: Path
) -> None:
    # A draft whose answer is late would be made once more.
    await lead_to(yard.db, team, judge, **HASTY | {"draft_timeout_seconds": 5})
    settings = {
        "BATCHYARD_DATABASE_URL": yard.db.url,
        "BATCHYARD_SECRET_KEY": KEY,
        "BATCHYARD_TESTING": "true",
    }
    log = tmp_path / "log"
    batches = {}
    for step in ("before_keep", "after_keep", "after_send"):
        batches[step] = await dispatch(yard.db, team)
        with running("worker", log=log, BATCHYARD_FAILPOINT=step, **settings) as worker:
            await asyncio.to_thread(worker.wait, 30)
        assert worker.returncode == -signal.SIGKILL, log.read_text()
        # The next worker takes it for dead at once, and finds its items before it takes new ones.
        # It asks about none: that is for the last.
        await yard.value(f"{SILENT} RETURNING id")
        await yard.value(DUE_IN, ["1 hour"])
    batches["purchase"] = await dispatch(yard.db, team)
    judge.spoil("purchase", "hold_after")
    with running("worker", log=log, **settings) as worker:
        async with asyncio.timeout(30):
            while not judge.books()["held"]:  # noqa: ASYNC110  # another process is silent
                await asyncio.sleep(0.02)
        worker.kill()
        await asyncio.to_thread(worker.wait, 30)
    await yard.value(f"{SILENT} RETURNING id")
    await yard.value(DUE_IN, ["0 s"])

    with running("worker", log=log, **settings):
        for step in ("before_keep", "after_send", "purchase"):
            await yard.until_ended(batches[step])
            assert await yard.counts(batches[step]) == {"booked": 1}, step
        await yard.until(
            "SELECT lease > 4 FROM items WHERE batch_id = %s", [batches["after_keep"]], seconds=30
        )

    # Its draft was never bought, which nobody can prove: it is asked for, and never sent again.
    assert await yard.counts(batches["after_keep"]) == {"sending": 1}
    assert sorted(judge.purchases().values()) == [1, 1, 1]
    books = judge.books()
    assert sorted(books["drafts"].values()) == [1, 1, 1, 2]
