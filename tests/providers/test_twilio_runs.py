"""Whole batches of calls through a fake Twilio that misbehaves; its own count is the judge."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from structlog.testing import capture_logs

from batchyard.engine import inbox as inbox_module
from batchyard.errors import Conflict
from batchyard.models import Kind, RetryPolicy
from batchyard.operations import control, providers
from batchyard.providers import twilio_answers
from batchyard.providers.twilio_signature import sign
from batchyard.store.db import Database
from tests.engine.conftest import Yard, make_team
from tests.providers import telephony
from tests.providers.fakes.plan import FAULTS
from tests.providers.fakes.process import Fake
from tests.providers.fakes.twilio_calls import ACCOUNT, TOKEN
from tests.providers.telephony import (
    PATIENT_SECONDS,
    TWILIO_SECRET,
    call,
    change_settings,
    forget_rate,
    lead_to,
    numbers,
    statuses,
    told,
    twilio_settings,
    working,
)
from tests.waiting import wait_until

SID = "CA" + "1" * 32

LONG_LOOKS = [0.8, 1.0, 4.0]
"""The last look comes long after what is `late` was placed and is listed."""


@pytest.fixture
def fake(twilio_server: Fake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """Lend the fake with a clean ledger; afterwards nothing may have broken its specification."""
    telephony.hurry(monkeypatch)
    twilio_server.change()
    yield twilio_server
    assert twilio_server.violations() == []


@pytest.fixture
async def yard(db: Database, fake: Fake) -> Yard:
    yard = Yard(db, await make_team(db))
    await lead_to(yard, "twilio", twilio_settings(fake), TWILIO_SECRET)
    return yard


async def test_every_fault_leaves_one_call_an_item(yard: Yard, fake: Fake) -> None:
    fake.change(
        faults=dict.fromkeys(FAULTS, 0.05),
        callback_faults={"lost": 0.2, "doubled": 0.2, "reordered": 0.1, "early": 0.2},
        listed_after_seconds=0.3,
        undecided=0.05,
    )
    await change_settings(yard, look_after_seconds=LONG_LOOKS)
    batch_id = await call(yard, numbers(30))
    async with working(yard):
        assert await yard.until_ended(batch_id) == "completed"
    assert fake.per_item() == dict.fromkeys(fake.per_item(), 1)
    assert len(fake.per_item()) == 30
    assert await statuses(yard) == told(fake)
    assert await yard.value("SELECT count(*) FROM number_claims") == 0


async def test_each_fault_alone_is_survived_without_callbacks(yard: Yard, fake: Fake) -> None:
    fake.change(callback_faults={"lost": 1})
    fake.order(*FAULTS)
    await change_settings(yard, look_after_seconds=LONG_LOOKS)
    batch_id = await call(yard, numbers(len(FAULTS)))
    async with working(yard):
        await yard.until_ended(batch_id)
    assert set(fake.per_item().values()) == {1}
    assert await statuses(yard) == told(fake)


async def test_callback_is_the_lost_answer(yard: Yard, fake: Fake) -> None:
    fake.change(step_seconds=0.5)
    fake.order("reset_after")
    # Later than any callback comes.
    await change_settings(yard, look_after_seconds=[10, 11, 12])
    await call(yard, numbers(1))
    async with working(yard):
        await yard.until("SELECT phase = 'live' FROM items")
        assert await yard.value("SELECT provider_reference ~ '^CA[0-9a-f]{32}$' FROM item_data")
        lists = fake.ledger()["requests"]
        assert isinstance(lists, dict)
        assert "GET /Calls.json" not in lists


async def tell(fake: Fake, status: str) -> httpx.Response:
    """Tell of the latest call at its own address that it is `SID`."""
    [url] = fake.asked()[-1]["StatusCallback"]
    form = {"AccountSid": ACCOUNT, "CallSid": SID, "CallStatus": status}
    signature = sign(TOKEN, url, list(form.items()))
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return await client.post(url, data=form, headers={"X-Twilio-Signature": signature})


@pytest.mark.parametrize("status,phase", [("initiated", "live"), ("busy", "done")])
async def test_callback_of_a_call_that_no_look_found_keeps_it_from_being_placed_again(
    yard: Yard, fake: Fake, status: str, phase: str
) -> None:
    fake.change(callback_faults={"lost": 1}, listed_after_seconds=600, step_seconds=600)
    fake.order("hang_after")
    batch_id = await call(yard, numbers(1))
    team = await telephony.team_of(yard)
    async with working(yard):
        await yard.until("SELECT phase = 'calling' AND worker_id IS NULL FROM items")
        await control.pause_batch(yard.db, team=team, kind=Kind.CALL, batch_id=batch_id)
        await yard.until("SELECT phase = 'ready' FROM items")
        with capture_logs() as logs:
            assert (await tell(fake, status)).json() == {"status": "taken"}
        assert [one["attempt"] for one in logs if one["event"] == "callback.late"] == [1]
        assert await yard.value("SELECT phase FROM items") == phase
        assert await yard.value("SELECT provider_reference FROM item_data") == SID
        await tell(fake, "busy")
        await control.resume_batch(yard.db, team=team, kind=Kind.CALL, batch_id=batch_id)
        await yard.until_ended(batch_id)
    assert list(fake.per_item().values()) == [1]
    assert await yard.counts(batch_id) == {"busy": 1}


async def test_callback_of_a_second_call_of_a_key_is_logged(yard: Yard, fake: Fake) -> None:
    fake.change(step_seconds=600, callback_faults={"lost": 1})
    await call(yard, numbers(1))
    async with working(yard):
        await yard.until("SELECT phase = 'live' FROM items")
        with capture_logs() as logs:
            assert (await tell(fake, "busy")).status_code == 422
    [logged] = [one for one in logs if one["event"] == "callback.of_other_effect"]
    assert SID in logged["reason"]
    assert await yard.value("SELECT phase FROM items") == "live"


async def test_call_that_is_listed_late_is_found_by_a_later_look(yard: Yard, fake: Fake) -> None:
    # A look takes two lists: two looks find nothing, or one of them does that gets no answer.
    fake.change(callback_faults={"lost": 1}, listed_after_lists=4, outcomes={"busy": 1})
    fake.order("hang_after")
    # Long enough between the first two to see what the first came to.
    await change_settings(yard, look_after_seconds=[0.8, 2.8, 3.0])
    batch_id = await call(yard, numbers(1))
    async with working(yard):
        await yard.until("SELECT empty_looks > 0 FROM items")
        await yard.until_ended(batch_id)
    assert list(fake.per_item().values()) == [1]
    assert await yard.counts(batch_id) == {"busy": 1}


async def test_call_that_waits_in_a_queue_is_found_and_dialled_once(yard: Yard, fake: Fake) -> None:
    fake.change(queue_seconds=600, outcomes={"completed": 1}, callback_faults={"lost": 1})
    fake.order("error_after")
    batch_id = await call(yard, numbers(1))
    async with working(yard):
        await yard.until("SELECT phase = 'live' AND status = 'initiated' FROM items")
        fake.release()
        await yard.until_ended(batch_id)
    assert list(fake.per_item().values()) == [1]
    assert await yard.value("SELECT result -> 'queue_seconds' FROM item_data") == 600


def longest_queue(sent_at: Iterable[float], *, calls_per_second: float) -> float:
    """Return how long one of these calls waits there at most, if it leaves at its intent.

    What the fake measures also counts each pause of the machine behind the intent.
    """
    longest = turn_at = 0.0
    for at in sorted(sent_at):
        longest = max(longest, turn_at - at)
        turn_at = max(at, turn_at) + 1 / calls_per_second
    return longest


async def test_calls_are_paced_so_that_they_need_not_wait_there(yard: Yard, fake: Fake) -> None:
    fake.change(calls_per_second=6, outcomes={"completed": 1})
    await change_settings(yard, calls_per_second=6, price_wait_seconds=60)
    await forget_rate(yard)
    batch_id = await call(yard, numbers(10))
    async with working(yard):
        await yard.until_ended(batch_id)
    assert await yard.value("SELECT count(*) FROM item_data WHERE result ? 'cost_minor'") == 10
    sent_at = await yard.value("SELECT array_agg(extract(epoch FROM intent_at)::float8) FROM items")
    assert isinstance(sent_at, list)
    # All at once, the last of them would wait for 1.5 seconds.
    assert longest_queue(sent_at, calls_per_second=6) < 0.7


async def test_call_that_no_look_found_may_be_left_to_a_person(yard: Yard, fake: Fake) -> None:
    fake.order("unavailable_before")
    await change_settings(yard, resend_unlisted=False, ask_patience_seconds=1)
    await call(yard, numbers(1))
    async with working(yard):
        await yard.until("SELECT phase = 'unknown' FROM items")
    assert fake.per_item() == {str(await yard.value("SELECT id FROM items")): 0}


async def test_refused_sends_do_not_count_as_sends_without_a_trace(
    yard: Yard, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twilio_answers, "CONCURRENCY_PAUSE_SECONDS", 0.05)
    fake.order(*["concurrency_used_up"] * 4, "reset_before", "none")
    await change_settings(yard, timeout_seconds=2)
    batch_id = await call(yard, numbers(1))
    async with working(yard):
        await yard.until_ended(batch_id)
    assert list(fake.per_item().values()) == [1]
    assert await yard.value("SELECT (sends, absences, try)::text FROM items") == "(6,1,1)"


async def test_two_candidates_are_left_to_a_person(yard: Yard, fake: Fake) -> None:
    fake.change(callback_faults={"lost": 1}, outcomes={"completed": 1}, twins="0")
    fake.order("reset_after")
    await change_settings(yard, ask_patience_seconds=1, timeout_seconds=2)
    await call(yard, numbers(1))
    async with working(yard):
        await yard.until("SELECT phase = 'unknown' FROM items")
    assert await yard.value("SELECT error_code FROM item_data") == "several_candidates"
    assert list(fake.per_item().values()) == [1]


async def test_two_lost_calls_to_one_number_get_each_its_own(yard: Yard, fake: Fake) -> None:
    fake.change(callback_faults={"lost": 1}, outcomes={"busy": 1})
    fake.order("reset_after", "reset_after")
    batch_id = await call(yard, numbers(1) * 2)
    async with working(yard, workers=2):
        await yard.until_ended(batch_id)
    assert list(fake.per_item().values()) == [1, 1]
    assert await yard.value("SELECT count(DISTINCT provider_reference) FROM item_data") == 2


async def test_retried_call_is_not_taken_for_the_one_before(yard: Yard, fake: Fake) -> None:
    fake.change(outcomes={"busy": 1}, callback_faults={"lost": 1})
    fake.order("none", "reset_after")
    policy = RetryPolicy(statuses=("busy",), max_retries=1, intervals_minutes=(0.001,))
    batch_id = await call(yard, numbers(1), retry_policy=policy)
    async with working(yard):
        await yard.until_ended(batch_id)
    assert Counter(told(fake).values()) == {"busy": 2}
    assert list(fake.per_item().values()) == [2]
    assert await yard.value("SELECT try FROM items") == 2


async def test_wrong_credentials_pause_the_provider_and_fail_nothing(
    yard: Yard, fake: Fake
) -> None:
    fake.change(is_suspended=True)
    await change_settings(yard, timeout_seconds=PATIENT_SECONDS)
    batch_id = await call(yard, numbers(3))
    async with working(yard):
        await yard.until("SELECT paused_reason IS NOT NULL FROM providers WHERE name = 'phone'")
        await yard.until("SELECT count(*) = 3 FROM items WHERE phase = 'ready'")
        assert fake.per_item() == {}
        fake.change()
        reason = await providers.resume_provider(yard.db, name="phone")
        assert reason == "The provider answered 401: Authenticate"
        assert await yard.until_ended(batch_id) == "completed"
    assert set(fake.per_item().values()) == {1}


async def test_callback_address_that_twilio_cannot_reach_pauses_the_provider(
    yard: Yard, fake: Fake
) -> None:
    fake.change(is_deaf=True)
    batch_id = await call(yard, numbers(3))
    async with working(yard):
        await yard.until("SELECT paused_reason IS NOT NULL FROM providers WHERE name = 'phone'")
        await yard.until("SELECT count(*) = 3 FROM items WHERE phase = 'ready'")
        assert fake.per_item() == {}
        assert await yard.value("SELECT count(*) FROM number_claims") == 0
        fake.change()
        reason = await providers.resume_provider(yard.db, name="phone")
        assert "StatusCallback" in str(reason)
        assert await yard.until_ended(batch_id) == "completed"
    assert set(fake.per_item().values()) == {1}


async def test_callback_with_a_wrong_signature_is_refused_and_the_call_found(
    yard: Yard, fake: Fake
) -> None:
    fake.change(wrong_signature=True)
    fake.order("reset_after")
    batch_id = await call(yard, numbers(1))
    with capture_logs() as logs:
        async with working(yard):
            await yard.until_ended(batch_id)
    callbacks = fake.ledger()["callbacks"]
    assert isinstance(callbacks, dict)
    assert set(callbacks) == {"403"}
    told_of = [one for one in logs if one["event"] == "callback.forbidden"]
    assert len(told_of) == callbacks["403"]
    assert told_of[0]["reason"] == "The signature is wrong."
    assert TOKEN not in str(told_of)
    assert await statuses(yard) == told(fake)


async def test_price_and_recording_are_waited_for(yard: Yard, fake: Fake) -> None:
    fake.change(outcomes={"completed": 1}, price_after_seconds=600)
    await change_settings(yard, price_wait_seconds=60, record=True, machine_detection="detect")
    to = [*numbers(1), "+4520199903"]
    batch_id = await call(yard, to)
    async with working(yard):
        await yard.until("SELECT count(*) = 2 FROM items WHERE status = 'call-disconnected'")
        fake.release()
        await yard.until_ended(batch_id)
    async with yard.db.pool.connection() as conn:
        rows = await (
            await conn.execute("SELECT result FROM item_data ORDER BY position")
        ).fetchall()
    for (result,), is_machine in zip(rows, (False, True), strict=True):
        assert isinstance(result, dict)
        assert (result["cost_minor"], result["currency"]) == (1.3, "USD")
        assert result["recording_url"].startswith("https://api.twilio.com/")
        assert result["answered_by_voice_mail"] is is_machine
        assert result["hangup_reason"] == "SIP 200 OK"
        assert "batchyard" not in result


async def test_person_ends_a_call_that_speaks_and_one_that_rings(yard: Yard, fake: Fake) -> None:
    fake.change(step_seconds=30)
    await change_settings(yard, timeout_seconds=PATIENT_SECONDS)
    batch_id = await call(yard, numbers(2))
    team = await telephony.team_of(yard)
    async with working(yard) as inbox:
        await yard.until("SELECT count(*) = 2 FROM items WHERE phase = 'live'")
        async with yard.db.pool.connection() as conn:
            rows = await (await conn.execute("SELECT id FROM items")).fetchall()
        for (item_id,) in rows:
            await inbox.end(item_id, team=team)  # type: ignore[arg-type]
        await yard.until_ended(batch_id)
        with pytest.raises(Conflict):
            await inbox.end(rows[0][0], team=team)  # type: ignore[arg-type]
    assert await yard.counts(batch_id) == {"stopped": 2}
    assert set(told(fake).values()) == {"stopped"}


async def the_item(yard: Yard) -> UUID:
    item_id = await yard.value("SELECT id FROM items")
    assert isinstance(item_id, UUID)
    return item_id


async def test_call_whose_price_is_waited_for_cannot_be_ended(yard: Yard, fake: Fake) -> None:
    fake.change(outcomes={"completed": 1}, price_after_seconds=600)
    await change_settings(yard, price_wait_seconds=60, timeout_seconds=PATIENT_SECONDS)
    batch_id = await call(yard, numbers(1))
    async with working(yard) as inbox:
        await yard.until("SELECT status = 'call-disconnected' FROM items")
        with pytest.raises(Conflict, match="its price or recording is waited for"):
            await inbox.end(await the_item(yard), team=await telephony.team_of(yard))
        fake.release()
        await yard.until_ended(batch_id)
    assert await yard.counts(batch_id) == {"completed": 1}
    assert await yard.value("SELECT NOT result ? 'hangup_by' FROM item_data")


async def test_call_that_was_over_before_it_was_to_be_ended_keeps_its_word(
    yard: Yard, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "END_CHECK", timedelta(milliseconds=200))
    fake.change(callback_faults={"lost": 1}, outcomes={"busy": 1})
    await change_settings(yard, look_up_after_seconds=60, timeout_seconds=PATIENT_SECONDS)
    batch_id = await call(yard, numbers(1))
    async with working(yard) as inbox:
        await yard.until("SELECT phase = 'live' FROM items")
        await asyncio.to_thread(wait_until, lambda: set(told(fake).values()) == {"busy"})
        with pytest.raises(Conflict, match="over already"):
            await inbox.end(await the_item(yard), team=await telephony.team_of(yard))
        await yard.until_ended(batch_id)
    assert await yard.counts(batch_id) == {"busy": 1}


@pytest.mark.acceptance
async def test_worker_killed_behind_its_calls_places_none_twice(
    yard: Yard, fake: Fake, tmp_path: Path, port: int
) -> None:
    fake.change(step_seconds=0.2)
    batch_id = await call(yard, numbers(3))
    await telephony.kill_a_worker(yard, port=port, log=tmp_path / "log")
    assert any(fake.per_item().values())
    async with working(yard, port=port):
        await yard.until_ended(batch_id)
    assert list(fake.per_item().values()) == [1, 1, 1]
    assert await statuses(yard) == told(fake)
