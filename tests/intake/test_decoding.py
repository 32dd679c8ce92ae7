"""Finding the encoding of a file from its bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.intake.decoding import DETECT_BYTES, TextDecoder

TEXT = "contact_number,name\r\n+4520123456,Søren Ærø\r\n+33612345678,Zoé\r\n"


def decode(data: bytes, *, size: int = 7) -> str:
    decoder = TextDecoder(data[:DETECT_BYTES])
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
