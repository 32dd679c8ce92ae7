"""`batchyard batches` and `batch`: what there is, and how it stands."""

from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from batchyard.cli import choosing, options, remote, tables, values, watch_screen
from batchyard.cli.choosing import BatchName
from batchyard.cli.pace import Pace
from batchyard.cli.watch_screen import Sight
from batchyard.client import Batch, Client
from batchyard.lifecycle import FAILURE_STATUSES
from batchyard.models import BatchState, Kind, Phase

LARGEST_PAGE = 500
HEADINGS = ("batch", "kind", "state", "ended", "failed", "created", "name")


def batches(
    *,
    state: Annotated[
        list[BatchState] | None,
        typer.Option(
            parser=values.word_of(BatchState, what="state of a batch"),
            help="Only in this state; repeat it.",
            metavar="STATE",
        ),
    ] = None,
    kind: Annotated[
        Kind | None,
        typer.Option(
            parser=values.word_of(Kind, what="kind of item"),
            help="Only calls, or only shipments.",
            metavar="|".join(Kind),
        ),
    ] = None,
    agent: Annotated[
        str | None, typer.Option(help="Only of this agent: id or name.", metavar="AGENT")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Found in name or reference.", metavar="TEXT")
    ] = None,
    singles: Annotated[
        bool, typer.Option("--singles", help="Single calls and bookings instead.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="So many at most, the newest first.")
    ] = 20,
    as_json: options.Json = False,
) -> None:
    """List the team's batches, the newest first.

    With --json each is a line of JSON.
    """
    filters: dict[str, object] = {"state": state, "kind": kind, "text": text, "singles": singles}
    print_one = _json_printer() if as_json else None
    found, is_more = remote.ask(
        lambda client: _list(client, filters, agent=agent, limit=limit, each=print_one)
    )
    if as_json:
        return
    if not found:
        typer.echo("There is none. Begin: batchyard calls FILE, or shipments FILE.")
        return
    tables.print_table(HEADINGS, [_cells(batch) for batch in found])
    if is_more:
        typer.echo(f"There are more: --limit {limit * 10}", err=True)


async def _list(
    client: Client,
    filters: dict[str, object],
    *,
    agent: str | None,
    limit: int,
    each: Callable[[Batch], None] | None,
) -> tuple[list[Batch], bool]:
    """Return batches up to a limit, and whether there are more; `each` takes them instead."""
    if agent is not None:
        filters = {**filters, "agent_id": await choosing.find_agent(client, agent)}
    found: list[Batch] = []
    n = 0
    async for batch in client.batches(**filters, limit=min(limit + 1, LARGEST_PAGE)):
        if n == limit:
            return found, True
        n += 1
        if each is None:
            found.append(batch)
        else:
            each(batch)
    return found, False


def batch(batch: BatchName, *, as_json: options.Json = False) -> None:
    """Show a batch: its counts, and why it waits.

    `batchyard watch` follows it.
    """
    shown = remote.ask(lambda client: _read(client, batch))
    if as_json:
        tables.print_json(shown.model_dump(mode="json"))
        return
    sight = Sight(batch=shown, failures=(), pace=Pace())
    console = Console(highlight=False)
    console.print(watch_screen.draw(sight))
    tables.print_table(("", ""), _facts(shown))


async def _read(client: Client, name: str) -> Batch:
    return await client.batch(await choosing.find_batch(client, name))


def _json_printer() -> Callable[[Batch], None]:
    return lambda batch: tables.print_line(batch.model_dump(mode="json"))


def _cells(batch: Batch) -> tuple[object, ...]:
    ended = batch.phases.get(Phase.DONE, 0)
    failed = sum(batch.counts.get(status, 0) for status in FAILURE_STATUSES)
    return (
        *(batch.id, batch.kind, batch.state, f"{ended:,}/{batch.total:,}", f"{failed:,}"),
        *(tables.show_minute(batch.created_at), choosing.name_batch(batch)),
    )


def _facts(batch: Batch) -> list[tuple[str, object]]:
    facts = [
        ("file", batch.file_name),
        ("reference", batch.reference),
        ("agent", batch.agent_id),
        ("rows", f"{batch.rows:,}"),
        ("refused rows", f"{batch.refused_rows:,}" if batch.refused_rows else None),
        ("priority", batch.priority),
        ("created", tables.show_time(batch.created_at)),
        ("starts", tables.show_time(batch.scheduled_at)),
        ("started", tables.show_time(batch.started_at)),
        ("finished", tables.show_time(batch.finished_at)),
    ]
    return [(name, value) for name, value in facts if value not in {None, ""}]
