"""Gzipped files that come in pieces."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.errors import InvalidRequest
from batchyard.intake.gunzip import FREE_BYTES, PIECE_BYTES, Gunzip

GIGABYTE = 1024**3


def unpack(packed: bytes, *, size: int = 1000, max_bytes: int = GIGABYTE) -> bytes:
    reader = Gunzip(max_bytes=max_bytes)
    pieces = list[bytes]()
    for start in range(0, len(packed), size):
        pieces += reader.feed(packed[start : start + size])
    pieces += reader.finish()
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)
    return b"".join(pieces)


@given(data=st.binary(max_size=3000), size=st.integers(1, 50), members=st.integers(1, 3))
def test_whatever_was_packed_comes_back(data: bytes, size: int, members: int) -> None:
    packed = b"".join(gzip.compress(data) for _ in range(members))
    assert unpack(packed, size=size) == data * members


def test_padding_after_the_end_is_none_of_the_content() -> None:
    assert unpack(gzip.compress(b"abc") + b"\0" * 100) == b"abc"


@pytest.mark.parametrize("cut", [12, 30, -1])
def test_file_that_is_cut_off_is_refused(cut: int) -> None:
    with pytest.raises(InvalidRequest) as refused:
        unpack(gzip.compress(bytes(range(256)) * 10)[:cut])
    assert refused.value.code == "file_damaged"


def test_file_that_is_damaged_is_refused() -> None:
    packed = bytearray(gzip.compress(bytes(range(256)) * 100))
    packed[40] ^= 0xFF
    with pytest.raises(InvalidRequest) as refused:
        unpack(bytes(packed))
    assert refused.value.code == "file_damaged"


def test_bomb_is_refused_long_before_it_is_unpacked() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(packer.compress(b"\0" * 1024 * 1024) for _ in range(300)) + packer.flush()
    reader, sizes = Gunzip(max_bytes=GIGABYTE), list[int]()
    with pytest.raises(InvalidRequest) as refused:
        sizes.extend(len(piece) for piece in reader.feed(packed))
    assert refused.value.code == "compression_bomb"
    assert reader._unpacked <= FREE_BYTES + PIECE_BYTES


def test_more_than_may_come_out_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        unpack(gzip.compress(b"abc" * 1000), max_bytes=2000)
    assert refused.value.code == "compression_bomb"
