"""What a flush did is counted by batch, team and provider, and by why it failed."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from batchyard.engine.counting import Judged, count_failures, count_outcomes, pair_up
from batchyard.models import Phase
from batchyard.store.items import Settled, Settlement
from batchyard.store.tallies import LONGEST_REASON, Tally

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
BATCH = uuid4()


def attempt(status: str, *, seconds: float = 0, error_code: str | None = None) -> Settlement:
    settlement = Settlement(id=uuid4(), attempt=1, phase=Phase.DONE, status="done", next_attempt=1)
    settlement["entry"] = {
        "status": status,
        "sent_at": NOW - timedelta(seconds=seconds),
        "ended_at": NOW,
    }
    if error_code is not None:
        settlement["error_code"] = error_code
    return settlement


def row(item_id: UUID, *, team_id: int = 1, provider_id: int | None = 7) -> Settled:
    return Settled(item_id, BATCH, team_id, provider_id, "done", NOW)


def test_attempts_are_counted_everywhere_they_belong() -> None:
    ok, busy, late = attempt("completed", seconds=3), attempt("busy", seconds=1), attempt("busy")
    judged: Judged = {
        ok["id"]: (ok, False),
        busy["id"]: (busy, True),
        # It came too late for its item, so nothing of it is counted.
        late["id"]: (late, True),
    }
    settled = [row(ok["id"]), row(busy["id"]), row(uuid4())]
    assert count_outcomes(pair_up(judged, settled)) == {
        f"batch:{BATCH}": Tally(ok=1, failed=1, seconds=4),
        "team:1": Tally(ok=1, failed=1, seconds=4),
        "provider:7": Tally(ok=1, failed=1, seconds=4),
    }


def test_failures_are_counted_by_code_else_by_status() -> None:
    failed = [
        attempt("busy"),
        attempt("busy"),
        attempt("error", error_code="x" * 200),
        attempt("no-answer"),
    ]
    judged: Judged = {one["id"]: (one, True) for one in failed}
    settled = [row(one["id"], team_id=1 + (one is failed[3])) for one in failed]
    assert count_failures(pair_up(judged, settled)) == {
        (1, "busy"): 2,
        (1, "x" * LONGEST_REASON): 1,
        (2, "no-answer"): 1,
    }
