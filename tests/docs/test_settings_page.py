"""docs/settings.md lists the fields of Config."""

import pytest

from batchyard.config import Config
from tests.docs.pages import table


@pytest.fixture(scope="module")
def rows() -> dict[str, list[str]]:
    said = table("docs/settings.md", headed="| setting | default | meaning |")
    return {name: rest for name, *rest in said}


def test_settings_page_names_every_setting_and_no_other(rows: dict[str, list[str]]) -> None:
    assert set(rows) == {f"BATCHYARD_{name.upper()}" for name in Config.model_fields}


@pytest.mark.parametrize("name", Config.model_fields)
def test_settings_page_gives_meaning_and_default(name: str, rows: dict[str, list[str]]) -> None:
    default, meaning = rows[f"BATCHYARD_{name.upper()}"]

    assert meaning == Config.model_fields[name].description
    assert default
