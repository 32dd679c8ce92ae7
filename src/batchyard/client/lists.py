"""Lists as they are sent: a file, which is streamed, or rows."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

Progress = Callable[[int], None]
"""Told how many bytes of the file were read so far; fewer than before when it is sent again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListFile:
    """A file, what it is called, and who is told how far it was sent."""

    path: Path
    name: str
    on_progress: Progress | None = None

    def open(self) -> BinaryIO:
        """Open it, from its beginning."""
        raw = io.FileIO(self.path)
        return io.BufferedReader(raw) if self.on_progress is None else _Told(raw, self.on_progress)


List = Path | ListFile | Sequence[Mapping[str, object]]
"""A list as a file, or as rows."""


class _Told(io.BufferedReader):
    """A file that tells how far it was read."""

    def __init__(self, raw: io.FileIO, tell: Progress) -> None:
        super().__init__(raw)
        self._tell = tell

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        self._tell(self.tell())
        return content


def file_of(rows: List) -> ListFile | None:
    """Return a list as a file; None for rows."""
    if isinstance(rows, ListFile):
        return rows
    return ListFile(path=rows, name=rows.name) if isinstance(rows, Path) else None


def write_field(value: object) -> str:
    """Write a field of a form: objects and lists as JSON, an id or a time as its text."""
    if isinstance(value, bool | int | float | Mapping | Sequence) and not isinstance(value, str):
        return json.dumps(value, default=str)
    return str(value)
