"""Pages are up to date and their links lead somewhere."""

import re
from pathlib import Path

import pytest

from batchyard.api.bolna.translate import UNKNOWN_MESSAGE
from batchyard.api.smartsend.translate import OUTCOME_UNKNOWN
from tests.docs.pages import ROOT, page
from tools.write_docs import HOW, stale_pages

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("src/**/*.md")]
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#]+)")


def test_generated_parts_are_up_to_date() -> None:
    assert not stale_pages(), HOW


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(path: Path) -> None:
    targets = LINK.findall(path.read_text(encoding="utf-8"))

    assert [t for t in targets if not (path.parent / t).exists()] == []


def test_operating_page_says_what_each_door_tells_of_unknown_outcomes() -> None:
    (told,) = (line for line in page("docs/operating.md").splitlines() if OUTCOME_UNKNOWN in line)

    assert f"a shipment is `failed` with the code `{OUTCOME_UNKNOWN}`" in told
    assert f'a call is `error` with the message "{UNKNOWN_MESSAGE}"' in told
