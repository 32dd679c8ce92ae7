"""A rehearsal calls no number more often than its team allows."""

from datetime import UTC, datetime

import pytest

from batchyard.models import RetryPolicy
from batchyard.rehearsal import Outcome, Plan, play

EVENING = datetime(2026, 3, 2, 22, 30, tzinfo=UTC)
"""Half past eleven in Copenhagen, half an hour before the next day."""
DANE, OTHER = "+4520123456", "+4520123457"
COPENHAGEN = ("Europe/Copenhagen",)


class Busy:
    """Every line is busy."""

    def outcome(self, item: int, attempt: int) -> Outcome:
        del item, attempt
        return Outcome(status="busy", busy_seconds=1)


@pytest.mark.parametrize(
    "minutes,per_day,per_week,attempts",
    [
        (1, None, None, 5),
        (1, 2, None, 2),
        (20, 2, None, 4),
        (20, 2, 3, 3),
        (1, 9, 9, 5),
    ],
)
def test_retries_are_attempts_of_their_day_and_week(
    minutes: float, per_day: int | None, per_week: int | None, attempts: int
) -> None:
    plan = Plan(
        zones=[COPENHAGEN],
        numbers=[DANE],
        start_at=EVENING,
        retry_policy=RetryPolicy(
            statuses=("busy",), max_retries=4, intervals_minutes=(minutes,) * 4
        ),
        attempts_per_day=per_day,
        attempts_per_week=per_week,
    )
    played = play(plan, Busy())
    assert (played.attempts, played.retries) == (attempts, attempts - 1)
    assert played.ended == {"canceled" if attempts < 5 else "busy": 1}


def test_items_of_one_number_share_its_attempts() -> None:
    plan = Plan(
        zones=[COPENHAGEN] * 4,
        numbers=[DANE, OTHER, DANE, None],
        start_at=EVENING,
        attempts_per_day=1,
    )
    played = play(plan, Busy())
    assert (played.attempts, played.retries) == (3, 0)
    assert played.ended == {"busy": 3, "canceled": 1}
