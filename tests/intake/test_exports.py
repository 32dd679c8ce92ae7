"""Lists that leave the house and come back."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.intake.exports import protect, render_csv, unprotect

CELLS = st.text(st.one_of(st.sampled_from("'=+-@\t\r1( "), st.characters(codec="utf-8")))


@given(cell=CELLS)
def test_protected_cell_comes_back(cell: str) -> None:
    assert unprotect(protect(cell)) == cell


@given(cell=CELLS)
def test_no_protected_cell_begins_like_a_formula(cell: str) -> None:
    shown = protect(cell)
    if shown[:1] in {"=", "@", "\t", "\r"} or (shown[:1] in {"+", "-"} and not _is_number(shown)):
        pytest.fail(shown)


def _is_number(text: str) -> bool:
    return all(character in "+-0123456789 ().,/" for character in text)


@pytest.mark.parametrize(
    "cell",
    ["+4520123456", "+45 20 12 34 56", "-17,50", "+1 (206) 555-0144", "+1 206 555-0144"],
)
def test_numbers_stay_as_they_are(cell: str) -> None:
    assert protect(cell) == cell


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+SUM(A1)",
        "-2+3+cmd|' /C calc'!A0",
        "@SUM(A1)",
        "'=1+1",
        "\t=1",
        '=HYPERLINK("x")',
        "+45-20-12",
        "-17/5",
    ],
)
def test_formulas_become_text(cell: str) -> None:
    assert protect(cell) == f"'{cell}"


@given(
    table=st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=5),
    delimiter=st.sampled_from(",;\t|"),
    is_exact=st.booleans(),
)
def test_table_comes_back_from_its_file(
    table: list[list[str]], delimiter: str, is_exact: bool
) -> None:
    # Until Python 3.13 the csv module leaves a lone CR unquoted.
    table = [[cell.replace("\r", "") for cell in row] for row in table]
    text = render_csv(table, delimiter=delimiter, is_exact=is_exact).decode()
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    back = rows if is_exact else [[unprotect(cell) for cell in row] for row in rows]
    assert back == table
