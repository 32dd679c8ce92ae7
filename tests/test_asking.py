"""When a look counts, and when nothing found is believed; the clock is given."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.asking import Asking, NextLook

SENT = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
LOOKS = (timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10))


def asking(empty_looks: int, *, arrives_after: float = 12) -> Asking:
    return Asking(
        intent_at=SENT,
        arrives_until=SENT + timedelta(seconds=arrives_after),
        looks=LOOKS,
        empty_looks=empty_looks,
    )


def after(seconds: float) -> datetime:
    return SENT + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "empty_looks,at,expected",
    [
        (0, 29, NextLook(at=after(30), empty_looks=0)),
        (0, 30, NextLook(at=after(120), empty_looks=1)),
        (0, 110, NextLook(at=after(200), empty_looks=1)),
        (1, 119, NextLook(at=after(120), empty_looks=1)),
        (1, 120, NextLook(at=after(600), empty_looks=2)),
        (2, 599, NextLook(at=after(600), empty_looks=2)),
        (2, 600, None),
    ],
)
def test_look_counts_only_at_its_time(
    empty_looks: int, at: float, expected: NextLook | None
) -> None:
    assert asking(empty_looks).after_empty(after(at)) == expected


def test_absence_is_never_believed_while_the_request_may_arrive() -> None:
    slow = asking(0, arrives_after=62)
    assert slow.after_empty(after(31)) == NextLook(at=after(62), empty_looks=0)


def test_looks_of_a_late_worker_keep_their_distance() -> None:
    first = asking(0).after_empty(after(3600))
    assert first == NextLook(at=after(3690), empty_looks=1)
    assert asking(1).after_empty(after(3690)) == NextLook(at=after(3690 + 480), empty_looks=2)


def test_without_looks_one_empty_answer_is_enough() -> None:
    assert Asking(intent_at=SENT, arrives_until=SENT).after_empty(SENT) is None


@given(st.lists(st.floats(min_value=0, max_value=4000), max_size=30))
def test_absence_takes_every_look_and_ten_minutes(waits: list[float]) -> None:
    at, empty_looks, counted = 0.0, 0, 0
    for wait in waits:
        at += wait
        look = asking(empty_looks).after_empty(after(at))
        if look is None:
            assert counted == len(LOOKS) - 1
            assert at >= 600
            return
        assert look.at > after(at)
        counted += look.empty_looks - empty_looks
        empty_looks = look.empty_looks
