"""When looks that decide nothing give an item up: after patience, never after a single one."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from batchyard.asking import Asking
from batchyard.lifecycle import Change, change_for_finding, change_for_hold
from batchyard.models import Finding, Kind, Lost, Phase, Refused, RetryPolicy

SENT = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
PATIENCE = timedelta(minutes=10)
LONGEST_PAUSE = timedelta(minutes=1)
PHASES = st.sampled_from([(Phase.CALLING, "sending"), (Phase.LIVE, "in-progress")])
LOST = Lost(code="http_503", message="?")
REFUSED = Refused(code="http_429", message="later")


def change(
    finding: Finding | Refused,
    *,
    at: datetime,
    undecided_since: datetime | None,
    phase: tuple[Phase, str] = (Phase.CALLING, "sending"),
    sends: int = 1,
) -> Change:
    return change_for_finding(
        finding,
        kind=Kind.CALL,
        phase=phase[0],
        status=phase[1],
        attempt=1,
        key="item.1",
        retry_policy=RetryPolicy(),
        undecided_since=undecided_since,
        can_be_asked_again=True,
        asking=Asking(intent_at=SENT, arrives_until=SENT, patience=PATIENCE, empty_looks=1),
        sends=sends,
        now=at,
    )


@given(PHASES, st.timedeltas(timedelta(0), timedelta(days=30)))
def test_item_is_given_up_once_looks_were_in_vain_for_so_long(
    phase: tuple[Phase, str], quiet: timedelta
) -> None:
    first_at = at = SENT + quiet
    looks, since = 0, None
    while True:
        found = change(LOST, at=at, undecided_since=since, phase=phase)
        looks += 1
        if found.phase is Phase.UNKNOWN:
            break
        assert found.deadline_at is not None
        assert timedelta(seconds=1) <= found.deadline_at - at <= LONGEST_PAUSE
        assert found.undecided_since == first_at
        assert found.empty_looks == 1
        at, since = found.deadline_at, found.undecided_since
    assert looks > 10
    assert PATIENCE < at - first_at <= PATIENCE + LONGEST_PAUSE


@given(st.timedeltas(timedelta(0), timedelta(days=30)), st.integers(1, 32_767))
def test_refusal_gives_nothing_up_and_patience_begins_anew(quiet: timedelta, sends: int) -> None:
    found = change(REFUSED, at=SENT + quiet, undecided_since=SENT, sends=sends)
    assert found.phase is Phase.CALLING
    assert found.is_undecided
    assert found.undecided_since is None
    assert found.deadline_at is not None
    assert found.deadline_at - SENT - quiet <= timedelta(minutes=5)


@given(st.timedeltas(timedelta(0), timedelta(days=30)), st.booleans())
def test_hold_gives_nothing_up_and_patience_begins_anew(quiet: timedelta, is_timed: bool) -> None:
    now = SENT + quiet
    until = now + timedelta(hours=9) if is_timed else None
    found = change_for_hold(
        phase=Phase.CALLING,
        status="sending",
        attempt=1,
        told_at=SENT,
        until=until,
        empty_looks=1,
        now=now,
    )
    assert (found.phase, found.attempt, found.empty_looks) == (Phase.CALLING, 1, 1)
    assert found.is_undecided
    assert found.undecided_since is None
    assert found.deadline_at is not None
    if until is None:
        assert timedelta(seconds=1) <= found.deadline_at - now <= LONGEST_PAUSE
    else:
        assert found.deadline_at == until
