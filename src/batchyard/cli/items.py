"""`batchyard items` and `item`: single rows, what became of them and why."""

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

import typer

from batchyard.cli import choosing, item_options, options, remote, tables
from batchyard.cli.choosing import BatchName
from batchyard.client import Client, Item

LARGEST_PAGE = 500
USUAL = ("attempt", "status", "sent_at", "ended_at", "error_code", "error_message")
HEADINGS = ("item", "line", "for", "status", "try", "code")


def items(
    batch: BatchName,
    *,
    status: item_options.Status = None,
    code: item_options.Code = None,
    number: item_options.Number = None,
    reference: item_options.Reference = None,
    search: item_options.Search = None,
    limit: Annotated[
        int, typer.Option(min=1, max=100_000_000, help="So many at most, in the order of the list.")
    ] = 50,
    as_json: options.Json = False,
) -> None:
    """List the items of a batch.

    With --json each is a line of JSON; `batchyard results` has them all, with what came of them.
    """
    filters = item_options.as_filters(
        status=status, code=code, number=number, reference=reference, search=search
    )
    found: list[Item] = []
    each = _print if as_json else found.append
    is_more = remote.ask(lambda client: _list(client, batch, filters, limit=limit, each=each))
    if not as_json:
        if not found:
            typer.echo("There is none.")
            return
        tables.print_table(HEADINGS, [_cells(item) for item in found])
    if is_more:
        typer.echo(f"There are more: --limit {limit * 10}", err=True)


async def _list(
    client: Client,
    batch: str,
    filters: dict[str, object],
    *,
    limit: int,
    each: Callable[[Item], None],
) -> bool:
    """Hand items over up to a limit; tell whether there are more."""
    batch_id = await choosing.find_batch(client, batch)
    await client.batch(batch_id)  # of another team or gone, it is not merely empty
    n = 0
    page = min(limit + 1, LARGEST_PAGE)
    async for item in client.items(batch_id=batch_id, **filters, limit=page):
        if n == limit:
            return True
        n += 1
        each(item)
    return False


def item(
    item: Annotated[UUID, typer.Argument(help="Its id.", metavar="ITEM", show_default=False)],
    *,
    as_json: options.Json = False,
) -> None:
    """Show an item: every attempt, its result, why it waits."""
    shown = remote.ask(lambda client: client.item(item))
    if as_json:
        tables.print_json(shown.model_dump(mode="json"))
        return
    tables.print_table(("", ""), _facts(shown))
    if shown.attempts:
        typer.echo()
        names = _columns(shown)
        rows = [[tables.compact(one.get(name)) for name in names] for one in shown.attempts]
        tables.print_table(names, rows)


def _columns(item: Item) -> list[str]:
    """Return what the attempts tell, the usual first; without what none of them has."""
    there = {name for one in item.attempts for name, value in one.items() if value is not None}
    usual = [name for name in USUAL if name in there]
    return usual + sorted(there - {*usual, "result"})


def _print(item: Item) -> None:
    tables.print_line(item.model_dump(mode="json"))


def _cells(item: Item) -> tuple[object, ...]:
    return (
        *(item.id, item.position, item.number or item.reference),
        *(item.status, item.attempt, item.error_code),
    )


def _facts(item: Item) -> list[tuple[str, object]]:
    waits = None
    if item.waiting is not None:
        until = item.waiting.until
        waits = item.waiting.sentence + (f" Until {tables.show_time(until)}." if until else "")
    facts = [
        ("item", item.id),
        ("batch", item.batch_id),
        ("line", item.position),
        ("number", item.number),
        ("reference", item.reference),
        ("status", item.status),
        ("waits", waits),
        ("error", ": ".join(text for text in (item.error_code, item.error_message) if text)),
        ("provider", item.provider),
        ("there known as", item.provider_reference),
        ("try", item.attempt),
        ("due", tables.show_time(item.due_at)),
        ("ended", tables.show_time(item.ended_at)),
        *((f"  {name}", tables.compact(value)) for name, value in (item.payload or {}).items()),
        *((f"result {name}", tables.compact(value)) for name, value in (item.result or {}).items()),
    ]
    return [(name, value) for name, value in facts if value not in {None, ""}]
