"""Pages are up to date and their links lead somewhere."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tools.write_docs import HOW, stale_pages

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("src/**/*.md")]
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#]+)")


def test_generated_parts_are_up_to_date() -> None:
    assert not stale_pages(), HOW


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(path: Path) -> None:
    targets = LINK.findall(path.read_text(encoding="utf-8"))

    assert [t for t in targets if not (path.parent / t).exists()] == []
