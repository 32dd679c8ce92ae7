"""`batchyard watch`: a batch while it runs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial
from uuid import UUID

import httpx
import typer
from rich.console import Console
from rich.live import Live

from batchyard import tasks
from batchyard.cli import choosing, exit_codes, options, remote, tables, watch_screen
from batchyard.cli.choosing import BatchName
from batchyard.cli.keys import pressed_keys
from batchyard.cli.pace import Pace
from batchyard.cli.watch_screen import Sight
from batchyard.client import ApiError, Client, Item
from batchyard.clock import monotonic
from batchyard.lifecycle import FAILURE_STATUSES

ASK_SECONDS = 1.0
SILENT_SECONDS = 2.0
"""A server that takes longer is said to be silent."""
LOST_SECONDS = 300.0
"""So long a server may be silent before watching it is given up."""
LINE_SECONDS = 10.0
"""Plain lines come so far apart, unless something other than the numbers changed."""
QUIT_KEYS = frozenset("qQ")


def watch(batch: BatchName, *, as_json: options.Json = False) -> None:
    """Follow a batch until it has ended, on a live screen.

    Shows counts, pace, time left, the last errors, and why it waits. At a terminal q leaves; the
    batch goes on. Elsewhere a line is printed when something changes, with --json the batch as a
    line of JSON. Exit code 0 when it completed, whatever became of single items; 1 when it failed,
    or was stopped or cancelled.
    """
    follow(batch, as_json=as_json)


def follow(batch: str | UUID, *, as_json: bool = False) -> None:
    """Follow a batch, and end the command with 1 when it ended badly."""
    console = Console(highlight=False)

    async def show(client: Client) -> Sight | None:
        batch_id = await choosing.find_batch(client, str(batch))
        if as_json:
            return await _print_lines(client, batch_id, _say_json)
        if console.is_terminal and not console.is_dumb_terminal:
            return await _show_screen(client, batch_id, console)
        return await _print_lines(client, batch_id, _say)

    sight = remote.ask(show)
    if sight is not None and sight.has_ended:
        for line in () if as_json else watch_screen.describe_end(sight):
            typer.echo(line)
        if sight.batch.state != "completed":
            raise typer.Exit(exit_codes.NOT_SO)


def _say(sight: Sight) -> None:
    typer.echo(watch_screen.describe_line(sight))


def _say_json(sight: Sight) -> None:
    if not sight.is_lost:
        tables.print_line(sight.batch.model_dump(mode="json"))


async def _show_screen(client: Client, batch_id: UUID, console: Console) -> Sight | None:
    """Show a batch until it has ended, or somebody leaves; None: before it was seen at all."""
    with pressed_keys() as keys:
        hint = f"{'Ctrl-C' if keys is None else 'q or Ctrl-C'} leaves; the batch goes on."
        leaving = asyncio.create_task(_leave(keys), name="keys")
        try:
            sights = _look(client, batch_id)
            return await _draw(sights, leaving, console=console, hint=hint)
        finally:
            await tasks.end(leaving)


async def _draw(
    sights: AsyncIterator[Sight], leaving: asyncio.Task[None], *, console: Console, hint: str
) -> Sight | None:
    sight = await _next(sights, leaving, tell_silence=partial(_tell_silence, console, hint))
    if sight is None:
        return None
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as screen:

        def show(seen: Sight) -> None:
            screen.update(watch_screen.fit(seen, hint=hint, console=console), refresh=True)

        while True:
            show(sight)
            if sight.has_ended:
                return sight
            await asyncio.wait({leaving}, timeout=ASK_SECONDS)
            lost = partial(show, replace(sight, is_lost=True))
            later = await _next(sights, leaving, tell_silence=lost)
            if later is None:
                return sight
            sight = later


def _tell_silence(console: Console, hint: str) -> None:
    console.print(watch_screen.LOST, style="red")
    console.print(hint, style="dim")


async def _next(
    sights: AsyncIterator[Sight],
    leaving: asyncio.Task[None],
    *,
    tell_silence: Callable[[], None],
) -> Sight | None:
    """Return what is seen next, or None when somebody leaves before it is.

    A server may hang for minutes until the question to it is given up.
    """
    looking = asyncio.create_task(_take(sights), name="look")
    first = asyncio.FIRST_COMPLETED
    try:
        done, _ = await asyncio.wait({looking, leaving}, timeout=SILENT_SECONDS, return_when=first)
        if not done:
            tell_silence()
            await asyncio.wait({looking, leaving}, return_when=first)
        return None if leaving.done() else looking.result()
    finally:
        await tasks.end(looking)


async def _take(sights: AsyncIterator[Sight]) -> Sight:
    return await anext(sights)


async def _leave(keys: "asyncio.Queue[str] | None") -> None:
    """Wait until somebody wants to leave."""
    if keys is None:
        await asyncio.Event().wait()
        return
    while await keys.get() not in QUIT_KEYS:
        pass


async def _print_lines(client: Client, batch_id: UUID, say: Callable[[Sight], None]) -> Sight:
    said: tuple[object, ...] = ()
    said_at = monotonic()
    async for sight in _look(client, batch_id):
        batch = sight.batch
        waits = None if batch.waiting is None else batch.waiting.reason
        now = (batch.state, waits, sight.is_lost, sight.has_ended)
        is_new = now != said[:-1]
        is_due = monotonic() - said_at >= LINE_SECONDS and batch.counts != said[-1]
        if is_new or is_due:
            say(sight)
            said, said_at = (*now, batch.counts), monotonic()
        if sight.has_ended:
            return sight
        await asyncio.sleep(ASK_SECONDS)
    raise AssertionError("looking has no end of its own")


async def _look(client: Client, batch_id: UUID) -> AsyncIterator[Sight]:
    """Yield how a batch stands, whenever it is asked for; go on over a lost connection."""
    pace = Pace()
    sight = await _see(client, batch_id, pace, None)
    answered_at = monotonic()
    while True:
        yield sight
        try:
            sight = await _see(client, batch_id, pace, sight)
            answered_at = monotonic()
        except (httpx.TransportError, ApiError) as error:
            is_refused = isinstance(error, ApiError) and error.status < 500
            if is_refused or monotonic() - answered_at > LOST_SECONDS:
                raise
            sight = replace(sight, is_lost=True)


async def _see(client: Client, batch_id: UUID, pace: Pace, before: Sight | None) -> Sight:
    batch = await client.batch(batch_id)
    failed, known = (
        0 if one is None else sum(one.counts.get(status, 0) for status in FAILURE_STATUSES)
        for one in (batch, None if before is None else before.batch)
    )
    failures: Sequence[Item] = () if before is None else before.failures
    if failed != known:
        failures = await client.failures(batch_id, limit=watch_screen.SHOWN_FAILURES)
    sight = Sight(batch=batch, failures=failures, pace=pace)
    pace.note(sight.ended, at=monotonic())
    return sight
