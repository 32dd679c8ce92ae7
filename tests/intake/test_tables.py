"""A CSV file as a stream of bytes: separator, header, rows."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.errors import InvalidRequest
from batchyard.intake.columns import MAX_COLUMNS, Columns
from batchyard.intake.records import Row
from batchyard.intake.tables import TableReader

QUOTINGS = (("'", csv.QUOTE_ALL), ('"', csv.QUOTE_ALL), ('"', csv.QUOTE_MINIMAL))
ESCAPED = {"doublequote": False, "escapechar": "\\"}
DIALECTS: list[dict[str, Any]] = [
    {"quotechar": quote, "quoting": quoting, **escaping}
    for quote, quoting in QUOTINGS
    for escaping in ({}, ESCAPED)
]
QUOTED = ("Bo", "'The' \"Boss\", Ek; a|b\tc")
"""Shows in every dialect how quotation marks within cells are written."""
CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


def read(data: bytes, *, size: int = 1000) -> tuple[TableReader, list[Row]]:
    reader = TableReader(Columns(takes_synonyms=False))
    rows = []
    for start in range(0, len(data), size):
        rows += reader.feed(data[start : start + size])
    return reader, rows + reader.finish()


def names(data: bytes) -> tuple[str | None, ...]:
    reader, _ = read(data)
    assert reader.header is not None
    return reader.header.names


@given(
    table=st.lists(st.tuples(CELLS, CELLS), max_size=6),
    delimiter=st.sampled_from(",;\t|"),
    dialect=st.sampled_from(DIALECTS),
    encoding=st.sampled_from(["utf-8-sig", "utf-16"]),
    size=st.integers(1, 50),
)
def test_any_table_comes_back_whatever_the_dialect(
    table: list[tuple[str, str]],
    delimiter: str,
    dialect: dict[str, Any],
    encoding: str,
    size: int,
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, **dialect)
    table = [QUOTED, *table]
    writer.writerows([("contact_number", "note"), *table])
    _, rows = read(text.getvalue().encode(encoding), size=size)
    kept = [cells for _, cells, _ in rows]
    assert kept == [[*row] for row in table if "".join(row).strip()]


def test_backslash_is_one_unless_it_stands_before_a_quotation_mark_within_a_cell() -> None:
    _, rows = read(b'contact_number,note\n"C:\\dir\\",5\\" pipe\n"D:\\","a ""b"" \\c"\n')
    assert [cells for _, cells, _ in rows] == [["C:\\dir\\", '5\\" pipe'], ["D:\\", 'a "b" \\c']]
    _, rows = read(b'contact_number,note\n1,"Bo \\"The\\" Ek"\n2,"""C"" \\\\ D"\n')
    assert [cells for _, cells, _ in rows] == [["1", 'Bo "The" Ek'], ["2", '"C" \\ D']]


@given(size=st.integers(1, 100_000))
def test_size_of_chunks_changes_nothing_in_a_file_larger_than_what_is_looked_at(size: int) -> None:
    data = b"name;contact_number\r\n" + b'"J\xc3\xb8rn;\r\nJr";+4520123456\r\n' * 4000
    _, rows = read(data, size=size)
    assert len(rows) == 4000
    assert rows[-1] == (8000, ["Jørn;\r\nJr", "+4520123456"], None)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_separator_is_the_one_that_finds_the_needed_column(delimiter: str) -> None:
    header = delimiter.join(['"a,b;c\td|e"', "Contact_Number ", "x"])
    reader, rows = read(f"{header}\n1{delimiter}2{delimiter}3\n".encode())
    assert reader.header is not None
    assert reader.header.names == ("a,b;c\td|e", "contact_number", "x")
    assert reader.header.needed == 1
    assert rows == [(2, ["1", "2", "3"], None)]


def test_header_is_trimmed_and_case_does_not_matter() -> None:
    assert names(b" First Name , CONTACT_NUMBER\n1,2\n") == ("First Name", "contact_number")


def test_columns_without_or_with_the_same_name_get_their_own() -> None:
    reader, _ = read(b"contact_number,name,,name,contact_number\n")
    assert reader.header is not None
    assert reader.header.names == (
        "contact_number",
        "name",
        "column_3",
        "name_2",
        "contact_number_2",
    )
    assert reader.header.is_renamed
    assert reader.header.cells == ("contact_number", "name", "", "name", "contact_number")


def test_empty_columns_at_the_end_of_the_header_are_none() -> None:
    assert names(b"contact_number,name,,,\n") == ("contact_number", "name")


def test_blank_rows_do_not_count_and_lines_stay_physical() -> None:
    _, rows = read(b"\n\ncontact_number,name\n\n , \n,,\n+4520123456,Bo\n\n")
    assert rows == [(7, ["+4520123456", "Bo"], None)]


def test_separator_line_of_spreadsheets_is_no_header() -> None:
    _, rows = read(b"sep=;\r\ncontact_number;name\r\n+4520123456;Bo\r\n")
    assert rows == [(3, ["+4520123456", "Bo"], None)]


@pytest.mark.parametrize("ending", [b"\r", b"\n", b"\r\n", b"\r\r\n"])
def test_every_line_end_is_one(ending: bytes) -> None:
    _, rows = read(ending.join([b"contact_number,name", b"+4520123456,Bo", b"+4520123457,Al"]))
    assert [cells for _, cells, _ in rows] == [["+4520123456", "Bo"], ["+4520123457", "Al"]]


@pytest.mark.parametrize(
    "data,what",
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"\n \r\n", "empty"),
        (b"phone,name\n1,2\n", "no column contact_number"),
        (b"+4520123456,Bo\n", "no column contact_number"),
        (b"PK\x03\x04" + b"\0" * 100, "spreadsheet"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "picture"),
        (bytes(range(256)) * 400, "not a CSV"),
        (b"contact_number\0,name\n", "not a CSV"),
        (b"x" * 200_000, "no header"),
        (b"contact_number" + b",x" * MAX_COLUMNS + b"\n", "columns"),
        (b'{"contact_number": "+4520123456"}\n', "no column contact_number"),
    ],
)
def test_file_that_is_no_list_is_refused_with_a_reason(data: bytes, what: str) -> None:
    with pytest.raises(InvalidRequest, match=what):
        read(data, size=10_000)
