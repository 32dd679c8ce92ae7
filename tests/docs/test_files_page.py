"""docs/files.md says what every verdict, column and synonym is."""

import pytest

from batchyard.intake.flat import list_columns
from batchyard.intake.synonyms import SYNONYMS
from batchyard.intake.verdicts import FILE_REFUSALS, REFUSALS, WARNINGS, Verdict
from tests.docs.pages import page


@pytest.mark.parametrize("verdicts", [REFUSALS, WARNINGS, FILE_REFUSALS])
def test_every_verdict_is_a_plain_sentence_with_a_cure(verdicts: dict[str, Verdict]) -> None:
    text = page("docs/files.md")
    for code, verdict in verdicts.items():
        assert f"| `{code}` |" in text
        for part in (verdict.sentence, verdict.cure):
            assert part[0].isupper(), code
            assert part.endswith((".", "]}.", '"}.')), code


def test_page_names_every_column_and_synonym() -> None:
    text = page("docs/files.md")
    for column in list_columns():
        assert f"| `{column}` |" in text
    for meanings in SYNONYMS.values():
        for names in meanings.values():
            assert all(f"`{name}`" in text for name in names)
