"""`batchyard unknown`: outcomes that wait for a person."""

from typing import Annotated
from uuid import UUID

import typer

from batchyard.cli import item_options, options, remote, tables
from batchyard.client import UnknownItem


def unknown(
    *,
    batch: Annotated[UUID | None, typer.Option(help="Only of this batch.", metavar="ID")] = None,
    code: item_options.Code = None,
    number: item_options.Number = None,
    reference: item_options.Reference = None,
    search: item_options.Search = None,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, help="So many at most, the oldest first.")
    ] = 100,
    as_json: options.Json = False,
) -> None:
    """List items that may have been done: nobody here knows.

    Look each key up at its provider, then decide: `batchyard resolve`.
    """
    filters = item_options.as_filters(code=code, number=number, reference=reference, search=search)
    found = remote.ask(lambda client: client.unknown_items(batch_id=batch, limit=limit, **filters))
    if as_json:
        tables.print_json([item.model_dump(mode="json") for item in found.data])
        return
    if not found.data:
        typer.echo("No outcome is unknown.")
        return
    headings = ("batch", "item", "for", "key", "provider", "sent", "unknown since", "why")
    tables.print_table(headings, [_cells(item) for item in found.data])
    if found.total > len(found.data):
        typer.echo(f"{found.total - len(found.data)} more: --limit {found.total}", err=True)


def _cells(item: UnknownItem) -> tuple[object, ...]:
    whose = item.reference or item.number or f"{item.kind} {item.position}"
    why = ": ".join(text for text in (item.error_code, item.error_message) if text)
    return (
        *(item.batch_id, item.item_id, whose, item.key, item.provider),
        *(item.sent_at, item.since, why or "the answer is lost"),
    )
