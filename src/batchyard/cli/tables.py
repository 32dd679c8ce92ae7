"""Lists for people, and the same for programs."""

import json
import shlex
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 10_000
"""Cells are never cut: a terminal folds them, a file keeps whole lines."""


COLUMN_GAP = 2
NARROWEST_LAST = 12


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in columns; at a terminal as wide as that is, a long cell on several lines."""
    console = Console(highlight=False)
    cells = [[Text(_cell(value)) for value in row] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(headings))
    for index, heading in enumerate(headings):
        is_last = index == len(headings) - 1
        table.add_column(heading, overflow="fold", no_wrap=not is_last)
    for line in cells:
        table.add_row(*line)
    if console.is_terminal:
        console.width = max(console.width, _narrowest(headings, cells))
        console.print(table)
        return
    console.width = WIDE
    with console.capture() as printed:
        console.print(table)
    for text in printed.get().splitlines():
        typer.echo(text.rstrip())


def _narrowest(headings: Sequence[str], rows: Sequence[Sequence[Text]]) -> int:
    """Return the columns of a terminal in which only the last column is folded."""
    fixed = [
        max(len(heading), *(row[index].cell_len for row in rows)) if rows else len(heading)
        for index, heading in enumerate(headings[:-1])
    ]
    return sum(fixed) + len(fixed) * COLUMN_GAP + NARROWEST_LAST


def print_json(value: object) -> None:
    """Print a value as JSON; times as ISO 8601."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def print_line(value: object) -> None:
    """Print a value as JSON in one line."""
    typer.echo(json.dumps(value, ensure_ascii=False, default=_plain))


def show_time(at: datetime | None) -> str:
    """Write a time for people, in their own zone."""
    return "" if at is None else at.astimezone().isoformat(sep=" ", timespec="seconds")


def show_minute(at: datetime | None) -> str:
    """Write a time for a list that people scan, in their own zone."""
    return "" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M}"


def compact(value: object) -> str:
    """Write a value of any JSON in one line; a text as it is."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def plain(text: str) -> str:
    """Show no control characters: what clients sent must not steer a terminal."""
    line = " ".join(text.splitlines())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def quote(text: str) -> str:
    """Write a text as a shell takes it for one word, without control characters."""
    return shlex.quote(plain(text))


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        value = value.isoformat(sep=" ", timespec="seconds")
    return "" if value is None else plain(str(value))


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")
