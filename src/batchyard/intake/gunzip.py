"""A gzipped upload, unpacked as it comes in, with an eye on bombs."""

import zlib
from collections.abc import Iterator

from batchyard.errors import InvalidRequest

MAGIC = b"\x1f\x8b"
PIECE_BYTES = 256 * 1024
"""How much is unpacked at once, however small what it is packed in."""
MAX_RATIO = 200
"""Text is packed to a tenth; a thousandth is made to harm."""
FREE_BYTES = 8 * 1024 * 1024
"""Up to here the ratio does not matter: short lists of equal rows are packed very small."""

_GZIP_ONLY = 16 + zlib.MAX_WBITS


class Gunzip:
    """Unpacks chunks of a gzip file, one of several members too, in small pieces."""

    def __init__(self, *, max_bytes: int) -> None:
        """`max_bytes` is what may come out at most."""
        self._max_bytes = max_bytes
        self._member = zlib.decompressobj(_GZIP_ONLY)
        self._packed = 0
        self._unpacked = 0
        self._is_between = False
        """After a member: padding or another one may follow."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes unpack to; raise `InvalidRequest` when they are broken."""
        while data:
            if self._is_between:
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._member = zlib.decompressobj(_GZIP_ONLY)
                self._is_between = False
            try:
                piece = self._member.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise _broken() from error
            left = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            self._packed += len(data) - len(left)
            self._count(piece)
            if piece:
                yield piece
            self._is_between = self._member.eof
            data = left

    def finish(self) -> Iterator[bytes]:
        """Yield what is left; raise `InvalidRequest` when the file ends too early."""
        if self._is_between:
            return
        piece = self._member.flush()
        self._count(piece)
        if piece:
            yield piece
        if not self._member.eof:
            raise _broken()

    def _count(self, piece: bytes) -> None:
        self._unpacked += len(piece)
        is_bomb = self._unpacked > FREE_BYTES and self._unpacked > MAX_RATIO * self._packed
        if is_bomb or self._unpacked > self._max_bytes:
            raise InvalidRequest(
                "The compressed file unpacks to far more than it may.", code="compression_bomb"
            )


def _broken() -> InvalidRequest:
    return InvalidRequest("The compressed file is damaged or cut off.", code="file_damaged")
