"""The page on limits names every reason for waiting, in the words people read."""

from tests.docs.pages import table

from batchyard.operations.waiting import REASONS


def test_limits_page_lists_every_reason() -> None:
    listed = dict(table("docs/limits.md", headed="| reason | what people read |"))
    assert listed == REASONS
