"""The refused rows of a batch as a CSV that can be corrected and uploaded again."""

import csv
import io
from collections.abc import AsyncIterator, Sequence

from batchyard.api.bolna.report_queries import RefusedRow

ERROR_COLUMNS = ("error_code", "error")


async def render(
    blocks: AsyncIterator[list[RefusedRow]], *, columns: Sequence[str]
) -> AsyncIterator[bytes]:
    """Write the refused rows in the uploaded columns, their faults behind.

    Cells beyond the last column stay at the end of the row. The byte order mark tells
    spreadsheets that this is UTF-8.
    """
    yield "\ufeff".encode() + _lines([[*columns, *ERROR_COLUMNS]])
    async for block in blocks:
        yield _lines([_mended(row, len(columns)) for row in block])


def _mended(row: RefusedRow, width: int) -> list[str]:
    cells = [*row.cells[:width], *[""] * (width - len(row.cells))]
    return [*cells, row.code, row.reason, *row.cells[width:]]


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
