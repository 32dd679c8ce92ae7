"""The busiest hour of a batch, where it can be told by hand."""

from datetime import UTC, datetime

import pytest

from batchyard.rehearsal import Ceiling, Outcome, Plan, play

TEN_TO_ELEVEN = datetime(2026, 3, 2, 10, 50, tzinfo=UTC)
ELEVEN = datetime(2026, 3, 2, 11, 0, tzinfo=UTC)


class Minutes:
    """Every attempt takes a minute."""

    def outcome(self, item: int, attempt: int) -> Outcome:
        del item, attempt
        return Outcome(status="completed", busy_seconds=60)


@pytest.mark.parametrize("stands_for", [1, 10])
def test_busiest_hour_begins_with_the_clock_not_with_the_batch(stands_for: int) -> None:
    plan = Plan(
        zones=[()] * (100 // stands_for),
        stands_for=stands_for,
        start_at=TEN_TO_ELEVEN,
        ceilings=[Ceiling(key="team", cap=1)],
    )
    played = play(plan, Minutes())
    # One a minute: ten before eleven, thirty after twelve.
    assert played.attempts == 100
    assert (played.busiest_hour, played.busiest_hour_attempts) == (ELEVEN, 60)


def test_first_of_two_hours_as_busy_is_told() -> None:
    plan = Plan(zones=[()] * 120, start_at=ELEVEN, ceilings=[Ceiling(key="team", cap=1)])
    played = play(plan, Minutes())
    assert (played.busiest_hour, played.busiest_hour_attempts) == (ELEVEN, 60)


def test_nothing_sent_has_no_busiest_hour() -> None:
    played = play(Plan(zones=[], start_at=ELEVEN), Minutes())
    assert (played.busiest_hour, played.busiest_hour_attempts) == (None, 0)
