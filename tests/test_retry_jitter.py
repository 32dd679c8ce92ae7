"""When an ended item is tried again; the clock is given."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard import retry
from batchyard.models import RetryPolicy

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
BUSY = RetryPolicy(statuses=("busy",), max_retries=3, intervals_minutes=(10, 20))

INTERVALS = st.lists(st.floats(0, 43_200), min_size=1, max_size=5).map(tuple)
POLICIES = st.builds(
    RetryPolicy,
    statuses=st.just(("busy",)),
    max_retries=st.integers(1, 10),
    intervals_minutes=INTERVALS,
    on_voicemail=st.booleans(),
    jitter=st.floats(0, 1),
)


def due_at(policy: RetryPolicy, *, attempt: int, key: str = "item.1") -> datetime | None:
    return retry.plan(
        policy, status="busy", answered_by_voicemail=False, attempt=attempt, key=key, now=NOW
    )


def test_intervals_are_exact_unless_a_jitter_is_asked_for() -> None:
    waits = [due_at(BUSY, attempt=n, key=f"item.{n}") for n in (1, 2, 3)]
    assert waits == [NOW + timedelta(minutes=minutes) for minutes in (10, 20, 20)]
    assert due_at(BUSY, attempt=4) is None


@given(policy=POLICIES, attempt=st.integers(1, 10), key=st.text(min_size=1))
def test_interval_with_jitter_is_never_shorter_nor_longer_than_it_may_be(
    policy: RetryPolicy, attempt: int, key: str
) -> None:
    exact = due_at(replace(policy, jitter=0), attempt=attempt, key=key)
    spread = due_at(policy, attempt=attempt, key=key)
    if exact is None:
        assert spread is None
        return
    assert spread is not None
    assert exact <= spread <= exact + (exact - NOW) * policy.jitter + timedelta(microseconds=1)
    # Whoever plans it, and however often, it is the same.
    assert due_at(policy, attempt=attempt, key=key) == spread


def test_keys_are_spread_over_the_whole_jitter() -> None:
    policy = replace(BUSY, intervals_minutes=(100,), jitter=0.5)
    shares = []
    for n in range(1000):
        at = due_at(policy, attempt=1, key=f"item-{n}.1")
        assert at is not None
        shares.append((at - NOW) / timedelta(minutes=100) - 1)
    in_tenths = [sum(0.05 * n <= share < 0.05 * (n + 1) for share in shares) for n in range(10)]
    assert sum(in_tenths) == 1000
    assert min(in_tenths) > 60


@given(policy=POLICIES)
def test_policy_is_kept_as_it_was_given(policy: RetryPolicy) -> None:
    assert retry.from_json(retry.to_json(policy)) == policy


@pytest.mark.parametrize("kept", [{}, {"statuses": ["busy"], "max_retries": 1}])
def test_policy_kept_before_there_was_jitter_has_none(kept: dict[str, object]) -> None:
    assert retry.from_json(kept).jitter == 0
