"""Lists for people, and the same for programs."""

import json
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 10_000
"""Cells are never cut: a terminal wraps, a file keeps whole lines."""


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in columns."""
    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    Console(width=WIDE, highlight=False).print(table)


def print_json(value: object) -> None:
    """Print a value as JSON; times as ISO 8601."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def _cell(value: object) -> str:
    """Show no control characters: what clients sent must not steer a terminal."""
    if isinstance(value, datetime):
        value = value.isoformat(sep=" ", timespec="seconds")
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")
