"""When an ended item is tried again, rule by rule."""

from datetime import UTC, datetime, timedelta

import pytest

from batchyard.models import RetryPolicy
from batchyard.retry import from_json, plan, to_json

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
USUAL = RetryPolicy(statuses=("busy", "no-answer"), max_retries=3)


def wait(
    policy: RetryPolicy, *, attempt: int = 1, status: str = "busy", by_voicemail: bool = False
) -> timedelta | None:
    due_at = plan(
        policy,
        status=status,
        answered_by_voicemail=by_voicemail,
        attempt=attempt,
        key=f"item.{attempt}",
        now=NOW,
    )
    return None if due_at is None else due_at - NOW


@pytest.mark.parametrize("attempt,minutes", [(1, 30), (2, 60), (3, 120)])
def test_usual_intervals_are_30_60_and_120_minutes(attempt: int, minutes: int) -> None:
    assert wait(USUAL, attempt=attempt) == timedelta(minutes=minutes)


def test_last_retry_is_followed_by_none() -> None:
    assert wait(USUAL, attempt=4) is None


@pytest.mark.parametrize("attempt,minutes", [(1, 5), (2, 7.5), (3, 7.5), (9, 7.5)])
def test_last_interval_repeats(attempt: int, minutes: float) -> None:
    policy = RetryPolicy(statuses=("busy",), max_retries=9, intervals_minutes=(5, 7.5))
    assert wait(policy, attempt=attempt) == timedelta(minutes=minutes)


def test_only_wanted_statuses_are_tried_again() -> None:
    assert wait(USUAL, status="no-answer") is not None
    assert wait(USUAL, status="failed") is None
    assert wait(RetryPolicy(), status="busy") is None


def test_voicemail_is_tried_again_where_that_is_wanted() -> None:
    keen = RetryPolicy(max_retries=1, on_voicemail=True)
    assert wait(keen, status="completed", by_voicemail=True) == timedelta(minutes=30)
    assert wait(keen, status="completed") is None
    assert wait(keen, status="completed", by_voicemail=True, attempt=2) is None
    assert wait(USUAL, status="completed", by_voicemail=True) is None


@pytest.mark.parametrize(
    "policy",
    [
        USUAL,
        RetryPolicy(),
        RetryPolicy(max_retries=1, intervals_minutes=(0.5,), on_voicemail=True),
    ],
)
def test_policy_comes_back_as_it_was_kept(policy: RetryPolicy) -> None:
    assert from_json(to_json(policy)) == policy


@pytest.mark.parametrize(
    "kept", [{}, {"statuses": "busy"}, {"statuses": ["busy"], "max_retries": "2"}]
)
def test_what_is_no_policy_is_read_as_none(kept: dict[str, object]) -> None:
    assert from_json(kept) == RetryPolicy()
