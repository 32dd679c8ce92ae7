"""The flat table of keys says what a set would say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.operations import seen
from batchyard.operations.seen import Seen


@given(st.lists(st.text(max_size=3)))
def test_key_is_new_once(keys: list[str]) -> None:
    table, known = Seen(), set[str]()
    for key in keys:
        assert table.add(key) is (key not in known)
        known.add(key)


def test_table_grows_and_forgets_nothing() -> None:
    table = Seen()
    keys = [f"+4520{number:06d}" for number in range(20_000)]
    assert all(table.add(key) for key in keys)
    assert not any(table.add(key) for key in keys)


def test_full_table_remembers_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "MOST_SLOTS", seen.FIRST_SLOTS)
    table = Seen()
    keys = list(range(1, 2 * seen.FIRST_SLOTS))
    assert all(table.add(key) for key in keys)
    assert not table.add(keys[0])
    assert table.add(keys[-1])
