"""Reading rows from text that comes in pieces."""

import csv
import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.errors import InvalidRequest
from batchyard.intake import records
from batchyard.intake.records import MAX_ROW_CHARACTERS, MAX_UNCLOSED_QUOTES, Row, RowReader

CELLS = st.text(st.one_of(st.sampled_from('",;\t\r\n a1'), st.characters(codec="utf-8")))
TABLES = st.lists(st.lists(CELLS, min_size=1, max_size=5), max_size=8)


def read(text: str, *, delimiter: str = ",", borders: list[int] | None = None) -> list[Row]:
    cuts = sorted({0, len(text), *(border for border in borders or [] if border < len(text))})
    reader = RowReader(delimiter)
    rows = [row for start, end in pairwise(cuts) for row in reader.feed(text[start:end])]
    return rows + reader.finish()


@given(
    table=TABLES,
    delimiter=st.sampled_from(",;\t|"),
    ending=st.sampled_from(["\r\n", "\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    borders=st.lists(st.integers(0, 200)),
)
def test_any_table_comes_back_whatever_the_chunks(
    table: list[list[str]], delimiter: str, ending: str, quoting: int, borders: list[int]
) -> None:
    # Until Python 3.13 the csv module leaves a line end unquoted if it is not its own, which nobody
    # can read back.
    if any("\r" in cell or "\n" in cell for cells in table for cell in cells):
        quoting = csv.QUOTE_ALL
    text = io.StringIO(newline="")
    writer = csv.writer(
        text,
        delimiter=delimiter,
        lineterminator=ending,
        quoting=quoting,  # type: ignore[arg-type]  # one of its constants
    )
    writer.writerows(table)
    rows = read(text.getvalue(), delimiter=delimiter, borders=borders)
    assert [cells for _, cells, _ in rows] == table
    assert {fault for _, _, fault in rows} <= {None}


@given(text=st.text(st.sampled_from('",\r\nab')), borders=st.lists(st.integers(0, 60)))
def test_borders_of_chunks_change_nothing(text: str, borders: list[int]) -> None:
    assert read(text, borders=borders) == read(text)


@given(text=st.text(st.sampled_from('",\r\nab')))
def test_no_character_of_a_cell_is_lost(text: str) -> None:
    letters = "".join("".join(cells) for _, cells, _ in read(text))
    assert [c for c in letters if c in "ab"] == [c for c in text if c in "ab"]


def test_row_is_numbered_by_the_line_it_starts_on() -> None:
    rows = read('a,b\n1,"x\r\ny\nz"\n\n2,w\n')
    assert [(line, cells) for line, cells, _ in rows] == [
        (1, ["a", "b"]),
        (2, ["1", "x\r\ny\nz"]),
        (6, ["2", "w"]),
    ]


def test_last_row_needs_no_line_end() -> None:
    assert read("a,b\n1,2") == [(1, ["a", "b"], None), (2, ["1", "2"], None)]


def test_quote_that_is_never_closed_costs_only_its_line() -> None:
    rows = read('a,b\n"1,2\n3,4\n5,6\n')
    assert rows == [
        (1, ["a", "b"], None),
        (2, ['"1', "2"], "quote_not_closed"),
        (3, ["3", "4"], None),
        (4, ["5", "6"], None),
    ]


@pytest.mark.parametrize("later", ['3,"z"', '3,"z, u"', '3,"z ""u"""'])
def test_quote_that_is_never_closed_takes_no_later_rows_along(later: str) -> None:
    rows = read(f'a,b\n1,"x\n2,y\n{later}\n4,w\n')
    assert [(line, fault) for line, _, fault in rows] == [
        (1, None),
        (2, "quote_not_closed"),
        (3, None),
        (4, None),
        (5, None),
    ]
    assert rows[2][1] == ["2", "y"]


@pytest.mark.parametrize("blank", ["\t", "\u00a0", " \t "])
def test_any_blank_may_stand_behind_a_cell_of_several_lines(blank: str) -> None:
    assert read(f'a,b\n"x\ny"{blank},c\n')[1:] == [(2, [f"x\ny{blank}", "c"], None)]


def test_tabs_between_cells_are_no_blanks() -> None:
    reader = RowReader("\t")
    rows = reader.feed('a\tb\tc\n"x\ny"\t\tz\n') + reader.finish()
    assert rows[1:] == [(2, ["x\ny", "", "z"], None)]


def test_blanks_behind_a_cell_of_several_lines_are_none_of_its_row() -> None:
    rows = read('a,b\n"x\ny" ,"z\nw" \n"u ",v\n')
    assert rows[1:] == [(2, ["x\ny ", "z\nw "], None), (5, ["u ", "v"], None)]


def test_quote_inside_an_unquoted_cell_is_a_character() -> None:
    assert read('a,b\n5" pipe,1\n6,2\n')[1] == (2, ['5" pipe', "1"], None)


def test_quote_open_for_too_long_is_given_up_before_the_file_ends() -> None:
    reader = RowReader(",")
    line = "x" * 1000 + "\n"
    rows = reader.feed('"1,2\n' + line * (MAX_ROW_CHARACTERS // 1000 + 2))
    assert rows[0] == (1, ['"1', "2"], "quote_not_closed")
    assert len(rows) == MAX_ROW_CHARACTERS // 1000 + 3


def test_too_many_open_quotes_refuse_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_ROW_CHARACTERS", 20)
    block = '"a\n' + "bcdef\n" * 5
    read(block * MAX_UNCLOSED_QUOTES)
    with pytest.raises(InvalidRequest, match="never closed"):
        read(block * (MAX_UNCLOSED_QUOTES + 1))


def test_long_rows_in_quotes_are_too_long_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "MAX_ROW_CHARACTERS", 20)
    long = '1,"' + "x" * 30 + '"\n'
    count = MAX_UNCLOSED_QUOTES + 1
    rows = read("a,b\n" + (long + "2,y\n") * count + long.strip())
    faults = [(line, fault) for line, _, fault in rows if fault is not None]
    assert faults == [(line, "row_too_long") for line in range(2, 2 * count + 3, 2)]
    assert [cells for _, cells, fault in rows if fault is None][1:] == [["2", "y"]] * count


def test_row_that_is_too_long_is_refused_and_the_next_is_read() -> None:
    reader = RowReader(",")
    rows = []
    for _ in range(40):
        rows += reader.feed("x" * (MAX_ROW_CHARACTERS // 10))
        assert len(reader._tail) <= MAX_ROW_CHARACTERS * 1.2
    rows += reader.feed(",end\n1,2\n") + reader.finish()
    assert [(line, fault) for line, _, fault in rows] == [(1, "row_too_long"), (2, None)]
    assert rows[1][1] == ["1", "2"]
