"""What a case of the corpus is, and what most of them are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field

GOOD = "+4520123456"
OTHER = "+46701740641"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file, and what becomes of it."""

    name: str
    content: bytes
    kind: str = "call"
    file: str | None = None
    """The code with which the file is refused as a whole."""
    accepted: int = 0
    refused: Mapping[int, str] = field(default_factory=dict)
    """Codes by line."""
    warned: Mapping[int, str] = field(default_factory=dict)


def csv(*lines: str, encoding: str = "utf-8", ending: str = "\n") -> bytes:
    """Return a file of such lines."""
    return ending.join([*lines, ""]).encode(encoding)
