"""The page on limits names every reason for waiting, in the words people read."""

from batchyard.operations.waiting import REASONS
from tests.docs.pages import table


def test_limits_page_lists_every_reason() -> None:
    listed = dict(table("docs/limits.md", headed="| reason | what people read |"))
    assert listed == REASONS
