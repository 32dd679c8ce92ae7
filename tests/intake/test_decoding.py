"""Finding the encoding of a file from its bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.errors import InvalidRequest
from batchyard.intake.decoding import DETECT_BYTES, ENCODINGS, TextDecoder, find_encoding

TEXT = "contact_number,name\r\n+4520123456,Søren Ærø\r\n+33612345678,Zoé\r\n"


def decode(data: bytes, *, size: int = 7, said: str | None = None) -> str:
    decoder = TextDecoder(data[:DETECT_BYTES], said=said)
    first, rest = data[:DETECT_BYTES], data[DETECT_BYTES:]
    chunks = [first, *(rest[start : start + size] for start in range(0, len(rest), size))]
    return "".join(decoder.decode(chunk) for chunk in chunks) + decoder.decode(b"", is_last=True)


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252"],
)
def test_encoding_is_found(encoding: str) -> None:
    assert decode(TEXT.encode(encoding)) == TEXT


def test_windows_characters_of_latin_files_are_read() -> None:
    assert decode("name,price\nMüller “Söhne”,5 €\n".encode("cp1252")).endswith("“Söhne”,5 €\n")


def test_latin_bytes_late_in_an_ascii_file_are_read() -> None:
    late = "a" * (2 * DETECT_BYTES) + "Søren"
    assert decode(late.encode("latin-1")) == late


def test_one_wrong_byte_does_not_spoil_a_utf8_file() -> None:
    data = "Ærøskøbing,".encode() * 20 + b"S\xf8ren," + "Zoé".encode()
    assert decode(data) == "Ærøskøbing," * 20 + "Søren,Zoé"


def test_character_cut_by_a_chunk_border_is_whole() -> None:
    text = "x" * (DETECT_BYTES - 1) + "øøø€€€"
    assert decode(text.encode(), size=1) == text


@given(st.binary(max_size=300))
def test_no_bytes_crash_it_and_text_can_be_stored(data: bytes) -> None:
    decode(data).encode("utf-8")


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_utf8_comes_back_as_it_was(text: str) -> None:
    assert decode(b"\xef\xbb\xbf" + text.encode()) == text


@pytest.mark.parametrize(
    "name,text",
    [
        ("Windows-1251", "имя,Жанна"),
        ("cp1250", "jméno,Łukasz"),
        ("KOI8-R", "имя,Жанна"),
        ("Shift_JIS", "名前,花子"),
        ("UTF-16", "имя"),
        ("utf-8-sig", "имя"),
        ("latin1", "Søren"),
    ],
)
def test_encoding_that_is_said_is_taken(name: str, text: str) -> None:
    said = find_encoding(name)
    assert decode(text.encode(said), size=1, said=said) == text


def test_byte_order_mark_says_more_than_anybody() -> None:
    assert decode("имя".encode("utf-8-sig"), said="cp1251") == "имя"


@pytest.mark.parametrize("name", ["klingon", "", "idna", "unicode_escape", "utf-7", "rot13", "a\0"])
def test_encoding_that_is_none_of_a_file_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        find_encoding(name)
    assert refused.value.code == "encoding_unknown"


@given(st.sampled_from(ENCODINGS), st.binary(max_size=100), st.integers(1, 5))
def test_no_bytes_crash_an_encoding_that_is_said(said: str, data: bytes, size: int) -> None:
    assert find_encoding(said) == said
    decode(b"." * DETECT_BYTES + data, size=size, said=said).encode("utf-8")


@pytest.mark.parametrize(
    "data,is_guessed",
    [
        (TEXT.encode(), False),
        (TEXT.encode("utf-16"), False),
        (b"name,city\n", False),
        (TEXT.encode("latin-1"), True),
        ("имя,Жанна".encode("cp1251"), True),
        (TEXT.encode() + b"S\xf8ren", True),
        ("ø".encode() + b"x" * DETECT_BYTES + b"\xf8", True),
    ],
)
def test_letters_that_are_only_guessed_are_known(data: bytes, is_guessed: bool) -> None:
    decoder = TextDecoder(data[:DETECT_BYTES])
    for start in range(0, len(data), DETECT_BYTES):
        decoder.decode(data[start : start + DETECT_BYTES])
    decoder.decode(b"", is_last=True)
    assert decoder.is_guessed is is_guessed
    assert not TextDecoder(data[:DETECT_BYTES], said="iso8859-1").is_guessed
