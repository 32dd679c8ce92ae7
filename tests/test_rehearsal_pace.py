"""The planned pace is told in few steps of equal length, whatever the batch lasts."""

from itertools import pairwise

import pytest

from batchyard.rehearsal import MOST_STEPS, coarsen


@pytest.mark.parametrize("lasts", [0, 1, 59, 119, 120, 3600, 86_400, 30 * 86_400, 366 * 86_400])
def test_steps_are_few_of_equal_length_and_lose_nothing(lasts: int) -> None:
    by_second = {7: 3, 7 + lasts // 2: 4, 7 + lasts: 5}
    steps = coarsen(by_second)
    times = list(steps)
    assert sum(steps.values()) == sum(by_second.values())
    assert len(times) <= MOST_STEPS + 1
    assert len({later - time for time, later in pairwise(times)}) <= 1
    assert times[0] <= 7


def test_nothing_sent_has_no_pace() -> None:
    assert coarsen({}) == {}
