"""Bytes of an uploaded text file to characters: the encoding is found, nothing ever crashes."""

import codecs

from batchyard.errors import InvalidRequest

DETECT_BYTES = 64 * 1024

UTF_8 = "utf-8"
WESTERN = "cp1252"

ENCODINGS = (
    UTF_8,
    *("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"),
    *(f"cp125{number}" for number in range(9)),
    *(f"iso8859-{number}" for number in range(1, 17) if number != 12),
    *("koi8-r", "koi8-u", "mac-roman", "cp437", "cp850", "cp852", "cp866", "cp874"),
    *("shift_jis", "cp932", "euc_jp", "gb2312", "gbk", "gb18030", "big5", "euc_kr", "cp949"),
)
"""What a file may be said to be written in, by Python's names; others of Python's lists are no
encodings of files, or are stateful."""
_MEANT = {"utf-8-sig": UTF_8, "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
"""Where the byte order mark is missing that these leave it to."""

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


def find_encoding(name: str) -> str:
    """Return Python's name of an encoding; raise `InvalidRequest` for one that is not read."""
    try:
        known = codecs.lookup(name.strip()).name
    except (LookupError, ValueError):
        known = ""
    found = _MEANT.get(known, known)
    if found not in ENCODINGS:
        raise InvalidRequest(
            f"There is no encoding {name!r}; use one such as utf-8 or windows-1251.",
            faults={"encoding": ["There is no such encoding."]},
            code="encoding_unknown",
        )
    return found


class TextDecoder:
    """Turns chunks of bytes into text; give it at least `DETECT_BYTES` first if there are."""

    def __init__(self, beginning: bytes, *, said: str | None = None) -> None:
        """Take the encoding that is said, else find it from the first bytes of the file.

        A byte order mark says more than anybody.
        """
        self.encoding, self._skip = _detect(beginning, said=said)
        self.is_guessed = said is None and self.encoding == WESTERN
        """Whether letters that no rule tells were taken for Western European ones."""
        self._is_strict = self.encoding == UTF_8
        self._decoder = codecs.getincrementaldecoder(self.encoding)(self._errors())

    def decode(self, data: bytes, *, is_last: bool = False) -> str:
        """Return the characters of the next chunk, those cut at its end with a later one."""
        skipped, self._skip = self._skip, 0
        data = data[skipped:] if skipped else data
        try:
            return self._decoder.decode(data, is_last)
        except UnicodeDecodeError:
            # Strict only until the first byte that is no UTF-8: that one and others are guessed.
            self._is_strict, self.is_guessed = False, True
            self._decoder.errors = self._errors()
            return self._decoder.decode(data, is_last)

    def _errors(self) -> str:
        if self._is_strict:
            return "strict"
        return "replace" if self.encoding.startswith(("utf-16", "utf-32")) else WESTERN_ERRORS


def _detect(beginning: bytes, *, said: str | None) -> tuple[str, int]:
    for bom, encoding in _BOMS:
        if beginning.startswith(bom):
            return encoding, len(bom)
    if said is not None:
        return said, 0
    sample = beginning[:DETECT_BYTES]
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    # Western text in UTF-16 is half NULs, all on one side.
    if odd > len(sample) // 4 and even * 8 < odd:
        return "utf-16-le", 0
    if even > len(sample) // 4 and odd * 8 < even:
        return "utf-16-be", 0
    # Bytes that turn up later and are no UTF-8 are still read, one by one, by the error handler.
    return (UTF_8 if _looks_like_utf8(sample) else WESTERN), 0


def _looks_like_utf8(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(sample)
    except UnicodeDecodeError:
        text = sample.decode("utf-8", "ignore")
        good = sum(1 for character in text if character > "\x7f")
        lost = len(sample) - len(text.encode())
        return good > lost
    return True
