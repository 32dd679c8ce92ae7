"""What the demo shows: progress while the lists run, and what became of every row."""

import asyncio
import json
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from batchyard.cli.demo_lists import ExampleList, Ledger, Standing

ASK_SECONDS = 0.25
PLAIN_WIDTH = 180
"""Columns where the output is no terminal."""


def make_console() -> Console:
    """Return where the demo speaks."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


async def follow(console: Console, lists: Sequence[ExampleList]) -> None:
    """Show how the lists move on until all have ended."""
    if console.is_terminal:
        await _follow_with_bars(console, lists)
    else:
        await _follow_with_lines(console, lists)


async def _follow_with_bars(console: Console, lists: Sequence[ExampleList]) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    standings = await _ask_all(lists)
    with Progress(*columns, console=console) as progress:
        bars = [
            progress.add_task(each.title, total=standing.total)
            for each, standing in zip(lists, standings, strict=True)
        ]
        while True:
            for bar, standing in zip(bars, standings, strict=True):
                progress.update(bar, completed=standing.done)
            if all(standing.has_ended for standing in standings):
                return
            await asyncio.sleep(ASK_SECONDS)
            standings = await _ask_all(lists)


async def _follow_with_lines(console: Console, lists: Sequence[ExampleList]) -> None:
    said: list[int] = [-1 for _ in lists]
    while True:
        standings = await _ask_all(lists)
        for index, (each, standing) in enumerate(zip(lists, standings, strict=True)):
            tenths = 10 if standing.has_ended else 10 * standing.done // (standing.total or 1)
            if tenths > said[index]:
                said[index] = tenths
                console.print(f"{each.title}: {standing.done} of {standing.total}")
        if all(standing.has_ended for standing in standings):
            return
        await asyncio.sleep(ASK_SECONDS)


async def _ask_all(lists: Sequence[ExampleList]) -> list[Standing]:
    return [await each.standing() for each in lists]


def print_list(console: Console, *, path: str, answer: object) -> None:
    """Print what a list answers."""
    console.print(f"\n[bold]GET {path}[/bold]", soft_wrap=True)
    console.print_json(json.dumps(answer))


def print_ledgers(console: Console, ledgers: Sequence[tuple[str, Ledger]]) -> None:
    """Print the numbers of each list: nothing is missing, nothing counted twice."""
    console.print("\n[bold]What became of every row[/bold]")
    table = Table()
    table.add_column("list")
    for heading in ("rows", "refused", "total"):
        table.add_column(heading, justify="right")
    table.add_column("= sum of the counts")
    for title, ledger in ledgers:
        counts = " + ".join(f"{n} {word}" for word, n in sorted(ledger.counts.items()))
        table.add_row(title, str(ledger.rows), str(len(ledger.refused)), str(ledger.total), counts)
    console.print(table)


def print_refused(console: Console, *, title: str, ledger: Ledger) -> None:
    """Print the rows that became no item, with their reasons."""
    console.print(f"\n[bold]Refused rows[/bold]: {title} (the header is line 1)")
    table = Table()
    table.add_column("line", justify="right")
    for heading in ("contact_number", "code", "reason"):
        table.add_column(heading)
    for row in ledger.refused:
        table.add_row(str(row.line), Text(row.value), Text(row.code), Text(row.reason))
    console.print(table)


def print_commands(
    console: Console, *, address: str, token: str, lists: Sequence[ExampleList]
) -> None:
    """Print how to ask each door by hand."""
    console.print("\n[bold]Ask yourself[/bold]")
    for each in lists:
        console.print(
            f"  # {each.title}\n"
            f'  curl -H "Authorization: Bearer {token}" {address}{each.list_path}',
            soft_wrap=True,
            markup=False,
        )
