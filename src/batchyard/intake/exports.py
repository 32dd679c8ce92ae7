"""Lists that leave the house: safe to open in a spreadsheet, and the same when they come back."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

BOM = "\ufeff"
"""Tells spreadsheets that the text is UTF-8."""

_RISKY = re.compile(r"'*[=+\-@\t\r]")
_HARMLESS = re.compile(r"[+\-](?:[\d ().,]*|[\d ().,/\-]*\d +\(?\d[\d ().,/\-]*)", re.ASCII)
"""Numbers, phone numbers among them: a spreadsheet can do nothing with them but show them.

With a dash or a stroke between digits it would calculate, except where a blank keeps it from that.
"""


def protect(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula; `unprotect` undoes it.

    An apostrophe in front is how spreadsheets themselves mark text (OWASP, CSV injection). Phone
    numbers stay as they are.
    """
    if _RISKY.match(cell) and not _HARMLESS.fullmatch(cell):
        return f"'{cell}"
    return cell


def unprotect(cell: str) -> str:
    """Return what a protected cell was before."""
    if cell.startswith("'") and protect(cell[1:]) == cell:
        return cell[1:]
    return cell


def render_csv(
    rows: Iterable[Sequence[str]], *, delimiter: str = ",", is_exact: bool = False
) -> bytes:
    """Write rows as CSV; exact ones are for programs, not for spreadsheets."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    for row in rows:
        writer.writerow(row if is_exact else [protect(cell) for cell in row])
    return text.getvalue().encode("utf-8", "replace")
