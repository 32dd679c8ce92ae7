"""`batchyard unknown`: outcomes that wait for a person."""

import asyncio
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer

from batchyard.cli import options, session, tables
from batchyard.config import Config
from batchyard.operations.outcomes import count_unknown, list_unknown
from batchyard.store.resolutions import UnknownItem


def unknown(
    *,
    team: options.TeamSlug,
    batch: Annotated[UUID | None, typer.Option(help="Only of this batch.", metavar="ID")] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="So many at most, the oldest first.")
    ] = 100,
    as_json: options.Json = False,
    data_dir: options.DataDir = None,
) -> None:
    """List items that may have been done, and nobody here knows.

    Look each key up at its provider, then decide: `batchyard resolve`.
    """
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        items, n = asyncio.run(_list(settings, url, team=team, batch=batch, limit=limit))
    if as_json:
        tables.print_json([asdict(item) for item in items])
        return
    if not items:
        typer.echo("No outcome is unknown.")
        return
    headings = ("batch", "item", "for", "key", "provider", "sent", "unknown since", "why")
    tables.print_table(headings, [_cells(item) for item in items])
    if n > len(items):
        typer.echo(f"{n - len(items)} more: --limit {n}", err=True)


async def _list(
    settings: Config, url: str, *, team: str, batch: UUID | None, limit: int
) -> tuple[list[UnknownItem], int]:
    async with session.database(settings, url) as db:
        found = await session.find_team(db, team)
        items = await list_unknown(db, team=found, batch_id=batch, limit=limit)
        return items, await count_unknown(db, team=found, batch_id=batch)


def _cells(item: UnknownItem) -> tuple[object, ...]:
    whose = item.reference or item.number or f"{item.kind} {item.position}"
    why = ": ".join(text for text in (item.error_code, item.error_message) if text)
    return (
        *(item.batch_id, item.item_id, whose, item.key, item.provider),
        *(item.sent_at, item.since, why or "the answer is lost"),
    )
