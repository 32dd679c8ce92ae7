"""docs/providers/karrio.md names every setting and every code."""

import re

from batchyard.providers.karrio_settings import FORBIDDEN_OPTIONS, KarrioSettings
from batchyard.providers.karrio_voids import VOIDS_NOTHING
from tests.docs.pages import ROOT, page, table

PAGE = "docs/providers/karrio.md"
CODE = re.compile(r'(?:Unbookable\(\s*|_failed\(|error_code=)"(\w+)"')


def test_page_lists_every_setting_with_its_meaning() -> None:
    rows = {
        name: meaning for name, _, meaning in table(PAGE, headed="| setting | default | meaning |")
    }

    assert rows == {name: one.description for name, one in KarrioSettings.model_fields.items()}


def test_page_names_every_code_a_shipment_fails_with() -> None:
    sources = ROOT.glob("src/batchyard/providers/karrio*.py")
    codes = {code for file in sources for code in CODE.findall(file.read_text(encoding="utf-8"))}
    text = page(PAGE)

    assert len(codes) > 20
    assert [code for code in sorted(codes) if f"`{code}`" not in text] == []


def test_page_names_what_is_never_sent_and_who_is_never_told() -> None:
    text = page(PAGE)

    assert all(f"`{name}`" in text for name in FORBIDDEN_OPTIONS | VOIDS_NOTHING)
