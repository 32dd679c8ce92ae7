"""The clock follows PostgreSQL's, and only as far as an answer proves."""

from datetime import timedelta

import pytest

from batchyard.clock import DatabaseClock, machine_now, monotonic


def correct(clock: DatabaseClock, *, ahead_seconds: float, took_seconds: float) -> None:
    """Let the database say just now that it is ahead; its answer took so long."""
    answered_at = monotonic()
    said_at = machine_now() - timedelta(seconds=took_seconds / 2)
    clock.correct(
        database_now=said_at + timedelta(seconds=ahead_seconds),
        asked_at=answered_at - took_seconds,
        answered_at=answered_at,
    )


def ahead(clock: DatabaseClock) -> float:
    return (clock() - machine_now()).total_seconds()


def test_offset_is_measured_half_way_between_question_and_answer() -> None:
    clock = DatabaseClock()
    correct(clock, ahead_seconds=100, took_seconds=2)
    assert ahead(clock) == pytest.approx(100, abs=0.1)


def test_answer_that_took_long_does_not_move_a_clock_that_it_agrees_with() -> None:
    clock = DatabaseClock()
    correct(clock, ahead_seconds=100, took_seconds=0.001)
    correct(clock, ahead_seconds=102, took_seconds=6)
    assert ahead(clock) == pytest.approx(100, abs=0.1)


def test_answer_that_took_long_moves_a_clock_that_is_further_off() -> None:
    clock = DatabaseClock()
    correct(clock, ahead_seconds=100, took_seconds=0.001)
    correct(clock, ahead_seconds=104, took_seconds=6)
    assert ahead(clock) == pytest.approx(104, abs=0.1)
