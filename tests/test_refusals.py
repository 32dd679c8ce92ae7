"""How long a refused item waits."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.lifecycle import (
    LONGEST_REFUSED_DELAY,
    REFUSED_DELAY,
    change_for_answer,
    delay_after_refusal,
)
from batchyard.models import Kind, Phase, Policy, Refused, RetryPolicy

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


def seconds_to_wait(refused: Refused, *, sends: int, attempt: int = 1) -> float:
    change = change_for_answer(
        refused,
        kind=Kind.SHIPMENT,
        attempt=attempt,
        key=f"item.{attempt}",
        retry_policy=RetryPolicy(),
        provider_policy=Policy.NEITHER,
        undecided_until=NOW,
        sends=sends,
        now=NOW,
    )
    assert (change.phase, change.attempt) == (Phase.READY, attempt)
    assert change.due_at is not None
    return (change.due_at - NOW).total_seconds()


def test_wait_doubles_with_each_refusal_up_to_five_minutes() -> None:
    waits = [seconds_to_wait(Refused(code="x", message="x"), sends=n) for n in range(1, 12)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_sends_of_earlier_attempts_that_were_answered_do_not_count() -> None:
    refused = Refused(code="x", message="x")
    assert seconds_to_wait(refused, sends=3, attempt=3) == 1
    assert seconds_to_wait(refused, sends=5, attempt=3) == 4


@given(repeats=st.integers(-5, 2**31))
def test_wait_never_shrinks_and_keeps_its_bounds(repeats: int) -> None:
    wait, next_wait = (delay_after_refusal(None, repeats=n) for n in (repeats, repeats + 1))
    assert REFUSED_DELAY <= wait <= next_wait <= LONGEST_REFUSED_DELAY


@pytest.mark.parametrize("seconds", [0.05, 3, 3600])
@pytest.mark.parametrize("sends", [1, 8])
def test_time_that_the_provider_names_wins(seconds: float, sends: int) -> None:
    refused = Refused(code="x", message="x", retry_after_seconds=seconds)
    assert seconds_to_wait(refused, sends=sends) == seconds


def test_provider_is_tried_at_once_because_it_says_so_only_the_first_time() -> None:
    refused = Refused(code="x", message="x", retry_after_seconds=0)
    assert [seconds_to_wait(refused, sends=n) for n in (1, 2, 3)] == [0, 2, 4]


def test_short_time_is_believed_ten_times_and_then_at_least_doubled() -> None:
    refused = Refused(code="x", message="x", retry_after_seconds=0.05)
    waits = [seconds_to_wait(refused, sends=n) for n in (1, 11, 12, 13, 14, 40, 32_767)]
    assert waits == [0.05, 0.05, 1, 2, 4, 300, 300]


def test_long_time_is_believed_however_often_it_is_named() -> None:
    refused = Refused(code="x", message="x", retry_after_seconds=3600)
    assert seconds_to_wait(refused, sends=40) == 3600
