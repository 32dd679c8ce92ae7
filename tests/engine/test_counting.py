"""What a flush did is summed up by batch, team and provider, and by why it failed."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from batchyard.engine.counting import Aftermath
from batchyard.engine.news import News, Stop
from batchyard.models import Phase
from batchyard.store.items import Settled, Settlement
from batchyard.store.tallies import LONGEST_REASON, Tally

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
BATCH = uuid4()


def attempt(
    status: str, *, is_failure: bool | None, seconds: float = 0, error_code: str | None = None
) -> News:
    settlement = Settlement(id=uuid4(), attempt=1, phase=Phase.DONE, status="done", next_attempt=1)
    settlement["entry"] = {
        "status": status,
        "sent_at": NOW - timedelta(seconds=seconds),
        "ended_at": NOW,
    }
    if error_code is not None:
        settlement["error_code"] = error_code
    return News(settlement=settlement, is_failure=is_failure)


def rows(
    *news: News, team_id: int = 1, provider_id: int | None = 7, phase: str = "done"
) -> Settled:
    return Settled(BATCH, team_id, provider_id, phase, LATER, [one.item_id for one in news])


def block(*news: News) -> dict[UUID, News]:
    return {one.item_id: one for one in news}


def test_attempts_are_counted_everywhere_they_belong() -> None:
    ok = attempt("completed", is_failure=False, seconds=3)
    busy = attempt("busy", is_failure=True, seconds=1)
    # It came too late for its item, so nothing of it is counted.
    late = attempt("busy", is_failure=True)
    moved = attempt("ringing", is_failure=None)
    aftermath = Aftermath()
    aftermath.add(block(ok, busy, late, moved), [rows(ok, busy, moved)], now=NOW)
    assert aftermath.outcomes == {
        f"batch:{BATCH}": Tally(ok=1, failed=1, seconds=4),
        "team:1": Tally(ok=1, failed=1, seconds=4),
        "provider:7": Tally(ok=1, failed=1, seconds=4),
    }


def test_failures_are_counted_by_code_else_by_status() -> None:
    failed = [
        attempt("busy", is_failure=True),
        attempt("busy", is_failure=True),
        attempt("error", is_failure=True, error_code="x" * 200),
        attempt("failed", is_failure=True, error_code="unreachable_4520000001"),
        attempt("failed", is_failure=True, error_code="no ada@example.com"),
    ]
    other = attempt("no-answer", is_failure=True)
    aftermath = Aftermath()
    aftermath.add(block(*failed, other), [rows(*failed), rows(other, team_id=2)], now=NOW)
    assert aftermath.failures == {
        (1, "busy"): 2,
        (1, "x" * LONGEST_REASON): 1,
        # Who it was is not told.
        (1, "failed"): 2,
        (2, "no-answer"): 1,
    }


def test_flushes_add_up() -> None:
    one, two = attempt("busy", is_failure=True), attempt("completed", is_failure=False, seconds=2)
    aftermath = Aftermath()
    aftermath.add(block(one), [rows(one, phase="ready")], now=NOW)
    assert aftermath.ended == set()
    assert aftermath.wakes == {1: LATER}
    aftermath.add(block(two), [rows(two)], now=NOW)
    assert aftermath.ended == {BATCH}
    assert aftermath.wakes == {1: NOW}
    assert aftermath.freed == {7: 2}
    assert aftermath.outcomes["team:1"] == Tally(ok=1, failed=1, seconds=2)


def test_item_that_stays_with_its_worker_wakes_nobody_and_frees_nothing() -> None:
    kept = attempt("sending", is_failure=None)
    kept.settlement["worker_id"] = 3
    aftermath = Aftermath()
    aftermath.add(block(kept), [rows(kept, phase="calling")], now=NOW)
    assert aftermath == Aftermath(flushes=1)


def test_of_several_stops_of_a_provider_the_one_of_what_was_sent_last_counts() -> None:
    """A person may have resumed it in between, with the password still wrong."""
    late, early = attempt("busy", is_failure=None), attempt("busy", is_failure=None)
    late.stop, early.stop = (
        Stop(provider_id=7, provider="p", reason="401", sent_at=at) for at in (LATER, NOW)
    )
    aftermath = Aftermath()
    aftermath.add(block(late), [rows(late)], now=NOW)
    aftermath.add(block(early), [rows(early)], now=NOW)
    assert aftermath.stops == {7: late.stop}
    assert aftermath.flushes == 2


def test_provider_that_asks_for_time_twice_gets_the_longer() -> None:
    aftermath = Aftermath()
    for until in (LATER, NOW):
        news = attempt("busy", is_failure=None)
        news.slow = (7, until)
        aftermath.add(block(news), [rows(news)], now=NOW)
    assert aftermath.slow == {7: LATER}
