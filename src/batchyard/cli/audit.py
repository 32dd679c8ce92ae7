"""`batchyard audit`: who changed what."""

from typing import Annotated

import typer

from batchyard.cli import options, remote, tables
from batchyard.client import AuditEntry, Client


def audit(
    *,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="So many at most.")] = 20,
    as_json: options.Json = False,
) -> None:
    """List who changed what in the team, the newest first.

    With --json each is a line of JSON, with what was there before and after. The token needs the
    scope audit:read.
    """
    rows = remote.ask(lambda client: _list(client, limit))
    if as_json:
        for row in rows:
            tables.print_line(row.model_dump(mode="json"))
        return
    tables.print_table(("at", "who", "did", "what", "from"), [_cells(row) for row in rows])


async def _list(client: Client, limit: int) -> list[AuditEntry]:
    rows: list[AuditEntry] = []
    async for row in client.audit(page=min(limit, 500)):
        rows.append(row)
        if len(rows) == limit:
            break
    return rows


def _cells(row: AuditEntry) -> tuple[object, ...]:
    return tables.show_time(row.at), row.actor, row.action, row.subject, row.source
