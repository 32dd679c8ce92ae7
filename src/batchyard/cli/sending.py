"""A list on its way to the server: what is sent, a bar while it goes, what became of its rows."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from batchyard.cli import tables
from batchyard.cli.choosing import count
from batchyard.client import ApiError, Client, Report
from batchyard.client.lists import ListFile
from batchyard.errors import InvalidRequest

STDIN = "-"
STDIN_NAME = "standard input"
SHOWN_ROWS = 10
ASK_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Sending:
    """A list on its way."""

    file: ListFile
    tell_rows: Callable[[int], None] | None
    """Shows how many rows were judged; None where nobody looks on."""

    @asynccontextmanager
    async def followed(self, client: Client) -> AsyncIterator[ListFile]:
        """Lend the file to be sent, and show meanwhile how many rows the server has judged."""
        if self.tell_rows is None:
            yield self.file
            return
        following = asyncio.create_task(_follow(client, self.tell_rows))
        try:
            yield self.file
        finally:
            following.cancel()


async def _follow(client: Client, tell: Callable[[int], None]) -> None:
    """Tell the rows of the newest upload; what goes wrong is no matter of the upload itself."""
    while True:
        await asyncio.sleep(ASK_SECONDS)
        with suppress(ApiError, httpx.HTTPError):
            newest = next(iter(await client.uploads()), None)
            if newest is not None:
                tell(newest.rows)


@contextmanager
def list_file(text: str) -> Iterator[Sending]:
    """Lend a list of this name, with a bar while it is read; `-` is standard input.

    What comes through a pipe is kept in a temporary file first: what is cut off is not sent, and
    what was lost on the way can be sent again. Raises `InvalidRequest` for what cannot be read.
    """
    if text == STDIN:
        if sys.stdin.isatty():
            raise InvalidRequest("Nothing comes in at standard input; name a file.")
        with _kept(sys.stdin.buffer) as path, _bar(path, STDIN_NAME) as sending:
            yield sending
        return
    path = Path(text)
    check_file(path)
    if path.is_file():
        with _bar(path, path.name) as sending:
            yield sending
        return
    with path.open("rb") as pipe, _kept(pipe) as kept, _bar(kept, path.name) as sending:
        yield sending


@contextmanager
def _kept(pipe: BinaryIO) -> Iterator[Path]:
    """Lend what comes through a pipe as a file."""
    with tempfile.NamedTemporaryFile(prefix="batchyard-") as file:
        shutil.copyfileobj(pipe, file)
        file.flush()
        yield Path(file.name)


def check_file(file: Path) -> None:
    """Raise `InvalidRequest` for a file that cannot be read; a pipe is not touched."""
    try:
        if not file.is_fifo():
            file.open("rb").close()
    except OSError as error:
        raise InvalidRequest(f"{file}: {error.strerror}.") from error


@contextmanager
def _bar(path: Path, name: str) -> Iterator[Sending]:
    """Lend a file that shows how far it was sent, where somebody looks on."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Sending(file=ListFile(path=path, name=name), tell_rows=None)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
    )
    size = path.stat().st_size
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"Sending {name}", total=size)

        def tell_bytes(sent: int) -> None:
            progress.update(task, completed=sent)

        def tell_rows(rows: int) -> None:
            progress.update(task, description=f"{name}: {count(rows, 'row')} checked")

        file = ListFile(path=path, name=name, on_progress=tell_bytes)
        yield Sending(file=file, tell_rows=tell_rows)


def show_report(report: Report, *, name: str) -> None:
    """Tell what became of the rows of a list: counts, the first refused rows with the cure."""
    parts = [f"{report.accepted:,} accepted"]
    for n, word in (
        (report.corrected, "corrected"),
        (report.refused, "refused"),
        (report.skipped, "left out"),
    ):
        if n:
            parts.append(f"{n:,} {word}")
    typer.echo(f"{tables.plain(name)}: {count(report.rows, 'row')}, {', '.join(parts)}.")
    rows = report.first_refusals[:SHOWN_ROWS]
    if rows:
        typer.echo()
        tables.print_table(
            ("line", "refused for", "what to do"), [(r.line, r.code, r.reason) for r in rows]
        )
        if report.refused > len(rows):
            rest = report.refused - len(rows)
            typer.echo(f"{rest:,} more: batchyard report {report.batch_id}")
        typer.echo()
    if report.offered_mapping is not None:
        named = tables.quote(report.offered_mapping)
        typer.echo(f"A mapping is kept for this header; --mapping {named} would have used it.")
    refused = {row.code for row in report.first_refusals}
    is_all = report.refused <= len(report.first_refusals)
    remarks = {code: n for code, n in report.codes.items() if not (is_all and code in refused)}
    if remarks:
        typer.echo("Remarks:" if is_all else "Remarks and refusals:")
    for code, n in sorted(remarks.items()):
        typer.echo(f"  {code}: {count(n, 'row')}")
