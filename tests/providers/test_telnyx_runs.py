"""Whole batches of calls through a fake Telnyx that misbehaves; its own count is the judge."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from batchyard.encryption import Vault
from batchyard.operations import providers
from batchyard.operations.provider_changes import change_provider
from batchyard.providers import telnyx_answers
from batchyard.store.db import Database
from tests.engine.conftest import Yard, make_team
from tests.providers import telephony
from tests.providers.fakes.plan import FAULTS
from tests.providers.fakes.process import Fake
from tests.providers.fakes.telnyx_legs import API_KEY
from tests.providers.telephony import (
    PATIENT_SECONDS,
    TELNYX_SECRET,
    call,
    change_settings,
    lead_to,
    numbers,
    statuses,
    telnyx_settings,
    told,
    working,
)


@pytest.fixture
def fake(telnyx_server: Fake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """Lend the fake with a clean ledger; afterwards nothing may have broken the vendor's types."""
    telephony.hurry(monkeypatch)
    telnyx_server.change()
    yield telnyx_server
    assert telnyx_server.violations() == []


@pytest.fixture
async def yard(db: Database, fake: Fake) -> Yard:
    yard = Yard(db, await make_team(db))
    await lead_to(yard, "telnyx", telnyx_settings(fake), TELNYX_SECRET)
    return yard


async def test_every_fault_leaves_one_call_an_item(yard: Yard, fake: Fake) -> None:
    fake.change(
        faults=dict.fromkeys(FAULTS, 0.06),
        callback_faults={"doubled": 0.2, "reordered": 0.1, "early": 0.2},
        undecided=0.1,
    )
    batch_id = await call(yard, numbers(30))
    async with working(yard):
        assert await yard.until_ended(batch_id) == "completed"
    assert fake.per_item() == dict.fromkeys(fake.per_item(), 1)
    assert len(fake.per_item()) == 30
    assert await statuses(yard) == told(fake)


async def test_each_fault_alone_is_survived(yard: Yard, fake: Fake) -> None:
    fake.order(*FAULTS)
    batch_id = await call(yard, numbers(len(FAULTS)))
    async with working(yard):
        await yard.until_ended(batch_id)
    assert set(fake.per_item().values()) == {1}
    assert await statuses(yard) == told(fake)


async def test_key_that_is_too_old_is_not_repeated_but_looked_for(yard: Yard, fake: Fake) -> None:
    await change_settings(yard, key_ttl_seconds=0.5, ask_patience_seconds=60)
    fake.change(step_seconds=600, callback_faults={"lost": 1}, key_seconds=0.5)
    fake.order("hang_after")
    await call(yard, numbers(1))
    async with working(yard):
        await yard.until("SELECT phase = 'live' FROM items")
    assert list(fake.per_item().values()) == [1]
    assert await yard.value("SELECT provider_reference ~ '^v3:' FROM item_data")


async def test_refused_repetition_says_nothing_about_the_call_that_rings(
    yard: Yard, fake: Fake
) -> None:
    """The first dial rings and uses up the channels; the answer to it was lost."""
    fake.change(step_seconds=600, callback_faults={"lost": 1})
    fake.order("hang_after", *["channels_used_up"] * 50)
    await call(yard, numbers(1))
    async with working(yard):
        await yard.until("SELECT error_code = 'telnyx_90041' FROM item_data")
        assert await yard.value("SELECT phase FROM items") == "calling"
        # Now the key is too old to be sent again, and the call is looked for.
        await yard.value(
            "UPDATE items SET intent_at = intent_at - interval '1 minute' RETURNING id"
        )
        await yard.until("SELECT phase = 'live' FROM items")
    assert list(fake.per_item().values()) == [1]
    requests = fake.ledger()["requests"]
    assert isinstance(requests, dict)
    assert requests["POST calls "] > 1


async def test_calls_without_a_free_channel_wait_and_none_fails(
    yard: Yard, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telnyx_answers, "CHANNEL_PAUSE_SECONDS", 0.1)
    fake.order(*["channels_used_up"] * 3)
    batch_id = await call(yard, numbers(2))
    async with working(yard):
        await yard.until_ended(batch_id)
    assert list(fake.per_item().values()) == [1, 1]
    assert await statuses(yard) == told(fake)


async def test_call_that_is_over_before_it_was_found_is_left_to_a_person(
    yard: Yard, fake: Fake
) -> None:
    await change_settings(yard, key_ttl_seconds=0.5, ask_patience_seconds=0)
    fake.change(callback_faults={"lost": 1}, key_seconds=0.5, outcomes={"busy": 1}, step_seconds=0)
    fake.order("hang_after")
    await call(yard, numbers(1))
    async with working(yard):
        await yard.until("SELECT phase = 'unknown' FROM items")
    assert list(fake.per_item().values()) == [1]


async def test_text_is_said_once_and_the_call_hung_up(yard: Yard, fake: Fake) -> None:
    fake.change(outcomes={"completed": 1}, unheard_seconds=600)
    await change_settings(
        yard,
        machine_detection="detect",
        record=True,
        has_cost=True,
        timeout_seconds=PATIENT_SECONDS,
    )
    batch_id = await call(yard, [*numbers(1), "+4520199903"])
    async with working(yard):
        await yard.until_ended(batch_id)
    async with yard.db.pool.connection() as conn:
        rows = await (
            await conn.execute("SELECT result FROM item_data ORDER BY position")
        ).fetchall()
    for (result,), is_machine in zip(rows, (False, True), strict=True):
        assert isinstance(result, dict)
        assert (result["cost_minor"], result["currency"]) == (1.25, "USD")
        assert result["recording_url"].endswith(".mp3")
        assert result["answered_by_voice_mail"] is is_machine
        assert result["hangup_reason"] == "normal_clearing (SIP 200)"
        assert result["hangup_by"] == "caller"
        assert "batchyard" not in result
    requests = fake.ledger()["requests"]
    assert isinstance(requests, dict)
    assert (requests["POST calls speak"], requests["POST calls hangup"]) == (2, 2)


async def test_text_that_is_refused_leaves_no_open_line(yard: Yard, fake: Fake) -> None:
    fake.change(outcomes={"completed": 1}, refuses_speech="10015", unheard_seconds=600)
    await change_settings(yard, timeout_seconds=PATIENT_SECONDS)
    batch_id = await call(yard, numbers(1))
    async with working(yard):
        await yard.until_ended(batch_id)
    assert await yard.counts(batch_id) == {"error": 1}
    assert await yard.value("SELECT error_code FROM item_data") == "say_refused"
    requests = fake.ledger()["requests"]
    assert isinstance(requests, dict)
    assert (requests["POST calls speak"], requests["POST calls hangup"]) == (1, 1)


async def test_answer_lost_to_a_command_does_not_undo_what_its_webhook_made_due(
    yard: Yard, fake: Fake
) -> None:
    """The text is spoken, and that is told, while its command still waits for an answer."""
    fake.change(outcomes={"completed": 1}, breaks_off_speech=True, unheard_seconds=600)
    await change_settings(yard, timeout_seconds=PATIENT_SECONDS)
    batch_id = await call(yard, numbers(1))
    async with working(yard):
        await yard.until_ended(batch_id)
    assert await yard.value("SELECT result ->> 'hangup_by' FROM item_data") == "caller"
    requests = fake.ledger()["requests"]
    assert isinstance(requests, dict)
    assert (requests["POST calls speak"], requests["POST calls hangup"]) == (1, 1)


async def test_end_that_nobody_told_is_looked_up(yard: Yard, fake: Fake) -> None:
    fake.change(callback_faults={"lost": 1}, outcomes={"busy": 1})
    await change_settings(yard, timeout_seconds=PATIENT_SECONDS)
    batch_id = await call(yard, numbers(1))
    async with working(yard):
        await yard.until_ended(batch_id)
    assert await yard.counts(batch_id) == {"no-answer": 1}
    assert await yard.value("SELECT result ->> 'hangup_reason' FROM item_data") == "not told"


async def test_calls_that_come_too_fast_are_refused_and_wait(yard: Yard, fake: Fake) -> None:
    fake.change(calls_per_second=3)
    batch_id = await call(yard, numbers(6))
    async with working(yard):
        await yard.until_ended(batch_id)
    assert set(fake.per_item().values()) == {1}
    assert await statuses(yard) == told(fake)


async def test_wrong_key_pauses_the_provider_and_fails_nothing(yard: Yard, fake: Fake) -> None:
    fake.change(is_suspended=True)
    await change_settings(yard, timeout_seconds=PATIENT_SECONDS)
    batch_id = await call(yard, numbers(3))
    async with working(yard):
        await yard.until("SELECT paused_reason IS NOT NULL FROM providers WHERE name = 'phone'")
        await yard.until("SELECT count(*) = 3 FROM items WHERE phase = 'ready'")
        fake.change()
        reason = await providers.resume_provider(yard.db, name="phone")
        assert reason is not None
        assert "401" in reason
        assert await yard.until_ended(batch_id) == "completed"
    assert set(fake.per_item().values()) == {1}


async def test_wrong_key_is_mended_while_everything_runs(db: Database, fake: Fake) -> None:
    yard = Yard(db, await make_team(db))
    await lead_to(yard, "telnyx", telnyx_settings(fake), '{"api_key": "wrong"}')
    batch_id = await call(yard, numbers(2))
    async with working(yard):
        await yard.until("SELECT paused_reason IS NOT NULL FROM providers WHERE name = 'phone'")
        await change_provider(
            db, Vault(telephony.KEY), name="phone", settings={}, secrets={"api_key": API_KEY}
        )
        await providers.resume_provider(db, name="phone")
        assert await yard.until_ended(batch_id) == "completed"
    assert set(fake.per_item().values()) == {1}
    assert await statuses(yard) == told(fake)


async def test_webhook_with_a_wrong_signature_is_refused_and_logged(yard: Yard, fake: Fake) -> None:
    fake.change(wrong_signature=True, outcomes={"busy": 1})
    await change_settings(yard, timeout_seconds=PATIENT_SECONDS)
    batch_id = await call(yard, numbers(1))
    with capture_logs() as logs:
        async with working(yard):
            await yard.until_ended(batch_id)
    callbacks = fake.ledger()["callbacks"]
    assert isinstance(callbacks, dict)
    assert set(callbacks) == {"403"}
    refused = [one for one in logs if one["event"] == "callback.forbidden"]
    assert len(refused) == callbacks["403"]
    assert {one["provider"] for one in refused} == {"phone"}
    assert "signature" in refused[0]["reason"]


async def test_person_hangs_a_call_up(yard: Yard, fake: Fake) -> None:
    fake.change(step_seconds=30)
    await change_settings(yard, timeout_seconds=PATIENT_SECONDS)
    batch_id = await call(yard, numbers(1))
    async with working(yard) as inbox:
        await yard.until("SELECT provider_reference IS NOT NULL FROM item_data")
        item_id = await yard.value("SELECT id FROM items")
        await inbox.end(item_id, team=await telephony.team_of(yard))  # type: ignore[arg-type]
        await yard.until_ended(batch_id)
    assert await yard.counts(batch_id) == {"stopped": 1}
    assert set(told(fake).values()) == {"stopped"}


@pytest.mark.acceptance
async def test_worker_killed_behind_its_calls_places_none_twice(
    yard: Yard, fake: Fake, tmp_path: Path, port: int
) -> None:
    fake.change(step_seconds=0.2, callback_retries=30)
    batch_id = await call(yard, numbers(3))
    await telephony.kill_a_worker(yard, port=port, log=tmp_path / "log")
    assert any(fake.per_item().values())
    async with working(yard, port=port):
        await yard.until_ended(batch_id)
    assert list(fake.per_item().values()) == [1, 1, 1]
    assert await statuses(yard) == told(fake)
