"""Where a spreadsheet waits until it is complete: a temporary folder, gone after it was read."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from batchyard.errors import InvalidRequest
from batchyard.intake.records import Row
from batchyard.intake.spreadsheets import read_written, write_rows

PREFIX = "batchyard-upload-"
MAX_BYTES = 256 * 1024 * 1024
READ_BYTES = 256 * 1024


class Spool:
    """One spreadsheet on its way: written as it comes in, then turned into rows."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        _remove_orphans()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self._path = self._folder / "upload.xlsx"
        self._file = self._path.open("wb")
        self._max_bytes = max_bytes
        self._bytes = 0

    def write(self, data: bytes) -> None:
        """Keep the next bytes; raise `InvalidRequest` when they are too many."""
        self._bytes += len(data)
        if self._bytes > self._max_bytes:
            raise InvalidRequest(
                f"A spreadsheet may have {self._max_bytes // 1024**2} MB; save it as CSV.",
                code="sheet_too_large",
            )
        self._file.write(data)

    def complete(self) -> str:
        """Return the folder, for `convert`."""
        self._file.close()
        return str(self._folder)

    def rows(self) -> Iterator[list[Row]]:
        """Yield the rows that `convert` wrote, some at a time."""
        with (self._folder / "rows").open("rb") as written:
            while lines := written.readlines(READ_BYTES):
                yield read_written(lines)

    def remove(self) -> None:
        """Remove everything."""
        self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def convert(folder: str, *, sheet: str | None) -> None:
    """Write down the rows of a complete spreadsheet; for another process."""
    with (Path(folder) / "rows").open("wb") as out:
        write_rows(str(Path(folder) / "upload.xlsx"), sheet=sheet, out=out)


def _remove_orphans() -> None:
    """Remove what processes left that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
