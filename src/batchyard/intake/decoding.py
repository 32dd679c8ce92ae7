"""Bytes of an uploaded text file to characters: the encoding is found, nothing ever crashes."""

import codecs

DETECT_BYTES = 64 * 1024

_BOMS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""UTF-32 before UTF-16: one mark begins with the other."""


def _decode_as_western(error: UnicodeError) -> tuple[str, int]:
    """Read bytes that are no UTF-8 as Windows-1252, the holes in it as Latin-1."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(_WESTERN[byte] for byte in wrong), error.end


def _western(byte: int) -> str:
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


_WESTERN = tuple(_western(byte) for byte in range(256))

WESTERN_ERRORS = "batchyard-western"
codecs.register_error(WESTERN_ERRORS, _decode_as_western)


class TextDecoder:
    """Turns chunks of bytes into text; give it at least `DETECT_BYTES` first if there are."""

    def __init__(self, beginning: bytes) -> None:
        """Find the encoding from the first bytes of the file."""
        self.encoding, self._skip = _detect(beginning)
        errors = "replace" if self.encoding.startswith(("utf-16", "utf-32")) else WESTERN_ERRORS
        self._decoder = codecs.getincrementaldecoder(self.encoding)(errors)

    def decode(self, data: bytes, *, is_last: bool = False) -> str:
        """Return the characters of the next chunk, those cut at its end with a later one."""
        skipped, self._skip = self._skip, 0
        return self._decoder.decode(data[skipped:] if skipped else data, is_last)


def _detect(beginning: bytes) -> tuple[str, int]:
    for bom, encoding in _BOMS:
        if beginning.startswith(bom):
            return encoding, len(bom)
    sample = beginning[:DETECT_BYTES]
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    # Western text in UTF-16 is half NULs, all on one side.
    if odd > len(sample) // 4 and even * 8 < odd:
        return "utf-16-le", 0
    if even > len(sample) // 4 and odd * 8 < even:
        return "utf-16-be", 0
    # Bytes that turn up later and are no UTF-8 are still read, one by one, by the error handler.
    return ("utf-8" if _looks_like_utf8(sample) else "cp1252"), 0


def _looks_like_utf8(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(sample)
    except UnicodeDecodeError:
        text = sample.decode("utf-8", "ignore")
        good = sum(1 for character in text if character > "\x7f")
        lost = len(sample) - len(text.encode())
        return good > lost
    return True
