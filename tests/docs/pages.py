"""Reads what the pages of docs/ say."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def table(name: str, *, headed: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the table whose header line is `headed`."""
    lines = iter(page(name).splitlines())
    for line in lines:
        if line == headed:
            next(lines)
            break
    else:
        raise LookupError(f"{name} has no table {headed!r}")
    for line in lines:
        if not line.startswith("|"):
            return
        yield [_bare(cell.strip()) for cell in line.strip("|").split("|")]


def _bare(cell: str) -> str:
    return re.sub(r"^`([^`]*)`$", r"\1", cell)
