"""Lists of JSON objects that come in pieces."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.errors import InvalidRequest
from batchyard.intake import json_rows
from batchyard.intake.json_rows import LineReader, ListReader, looks_like_list
from batchyard.intake.records import KEPT_CHARACTERS, MAX_ROW_CHARACTERS, Record

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**53), 2**53),
        st.text(st.one_of(st.sampled_from('"\\{}[],:\n '), st.characters(codec="utf-8"))),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), max_size=6)


def read(reader: ListReader | LineReader, data: bytes, size: int) -> list[Record]:
    rows = []
    for start in range(0, len(data), size):
        rows += reader.feed(data[start : start + size])
    return rows + reader.finish()


@given(
    objects=OBJECTS,
    size=st.integers(1, 40),
    indent=st.sampled_from([None, 1]),
    is_wrapped=st.booleans(),
    is_ascii=st.booleans(),
)
def test_any_list_comes_back_whatever_the_chunks(
    objects: list[dict[str, object]],
    size: int,
    indent: int | None,
    is_wrapped: bool,
    is_ascii: bool,
) -> None:
    whole: object = {"data": objects, "more": [1]} if is_wrapped else objects
    text = json.dumps(whole, indent=indent, ensure_ascii=is_ascii)
    rows = read(ListReader(), text.encode("utf-8", "surrogatepass"), size)
    assert [found for _, found, _ in rows] == objects
    assert [number for number, _, _ in rows] == list(range(1, len(objects) + 1))


@given(objects=OBJECTS, size=st.integers(1, 40), ending=st.sampled_from([b"\n", b"\r\n", b"\n\n"]))
def test_any_lines_come_back_whatever_the_chunks(
    objects: list[dict[str, object]], size: int, ending: bytes
) -> None:
    rows = read(LineReader(), b"".join(orjson.dumps(one) + ending for one in objects), size)
    assert [found for _, found, _ in rows] == objects


@pytest.mark.parametrize(
    "row,code",
    [
        (b"{'a': 1}", "json_malformed"),
        (b'{"a" 1}', "json_malformed"),
        (b'{"a": 1}}', "json_malformed"),
        (b"17", "json_no_object"),
        (b'"text"', "json_no_object"),
        (b"[1, 2]", "json_no_object"),
        (b"null", "json_no_object"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "json_too_deep"),
        (b'{"a": "\xff"}', "json_malformed"),
        (b'{"a": [{"b": 12345678901234567890123}]}', "json_number_too_long"),
        (b'{"a": 18446744073709551616}', "json_number_too_long"),
        (b'{"a": 1e25}', "json_number_too_long"),
        (b'{"a": [-1.5E+30]}', "json_number_too_long"),
        (b'{"a": -9223372036854775809}', "json_number_too_long"),
        (b'{"a": ' + b"1" * 300 + b"}", "json_number_too_long"),
        (b"", "json_malformed"),
    ],
)
def test_broken_row_costs_only_itself(row: bytes, code: str) -> None:
    rows = read(ListReader(), b'[{"n": 1}, ' + row + b', {"n": 2}]', 7)
    assert [fault for _, _, fault in rows] == [None, code, None]
    assert rows[2][1] == {"n": 2}
    if row:
        rows = read(LineReader(), b'{"n": 1}\n' + row + b'\n{"n": 2}', 7)
        assert [fault for _, _, fault in rows] == [None, code, None]


def test_long_numbers_are_kept_to_the_digit() -> None:
    row = {
        "largest": 2**64 - 1,
        "least": -(2**63),
        "text": "1" * 30,
        "part": 0.1234567890123456,
        "small": 1e-30,
        "short": 1.5e10,
    }
    assert read(LineReader(), orjson.dumps(row), 7) == [(1, row, None)]


@pytest.mark.parametrize("reader", [ListReader(), LineReader()])
def test_endless_row_is_refused_without_filling_the_memory(
    reader: ListReader | LineReader,
) -> None:
    is_list = isinstance(reader, ListReader)
    rows = reader.feed(b'[{"a": "' if is_list else b'{"a": "')
    for _ in range(50):
        rows += reader.feed(b"x" * (MAX_ROW_CHARACTERS // 10))
        kept = reader._text if isinstance(reader, ListReader) else reader._tail
        assert len(kept) < 3 * MAX_ROW_CHARACTERS
    rows += reader.feed(b'"}, {"n": 2}]' if is_list else b'"}\n{"n": 2}')
    rows += reader.finish()
    assert [(number, fault) for number, _, fault in rows] == [(1, "row_too_long"), (2, None)]
    assert isinstance(rows[0][1], list)
    assert len(rows[0][1][0]) == KEPT_CHARACTERS


@pytest.mark.parametrize(
    "text", [b"[", b'[{"a": 1}', b'[{"a": 1},', b'[{"a": "', b"{", b'{"data": ']
)
def test_list_without_end_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(ListReader(), text, 3)
    assert refused.value.code == "file_damaged"


@pytest.mark.parametrize("size", [3, 100])
def test_rows_behind_the_end_of_the_list_are_not_lost_without_a_word(size: int) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(ListReader(), b'[{"a": 1}] , {"a": 2}]', size)
    assert refused.value.code == "file_damaged"
    assert len(read(ListReader(), b'[{"a": 1}] \r\n\t ', size)) == 1


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("rest", [b'{"data": [{"a": 2}]}', b'{"a": 2}', b"]", b"}"])
def test_rows_behind_the_object_with_the_list_are_not_lost_without_a_word(
    rest: bytes, size: int
) -> None:
    page = b'{"data": [{"a": 1}], "total": {"of": [1, 2], "said": "}\\" ]}"}}\n'
    assert len(read(ListReader(), page, size)) == 1
    with pytest.raises(InvalidRequest) as refused:
        read(ListReader(), page + rest, size)
    assert refused.value.code == "file_damaged"


@pytest.mark.parametrize("text", [b'{"data": [{"a": 1}], "rest": "', b'[{"a": 1}]'])
def test_what_comes_behind_the_list_is_not_kept(text: bytes) -> None:
    reader = ListReader()
    assert len(reader.feed(text)) == 1
    for _ in range(3):
        reader.feed(b" " * MAX_ROW_CHARACTERS)
        assert len(reader._text) == 0
    assert reader.finish() == []


def test_text_that_is_no_list_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not a list"):
        read(ListReader(), b'{"a": {"b": ' + b" " * 2000, 100)


@pytest.mark.parametrize(
    "text,is_list",
    [
        (b'[{"a": 1}]', True),
        (b' \n[\n {"a": 1}]', True),
        (b'{"data": [{"a": 1}]}', True),
        (b'{"data": [\n {"a": 1},', True),
        (b'{"a": 1}\n{"a": 2}', False),
        (b'{"parcels": [{"x": 1}], "currency": "DKK"}\n', False),
        (b'{"tags": ["x"], "a": 1}\n', False),
    ],
)
def test_list_is_told_from_lines(text: bytes, is_list: bool) -> None:
    assert looks_like_list(text) is is_list
    assert json_rows.MAX_DEPTH == 32
