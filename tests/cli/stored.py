"""What tests of the administering commands put into the database, and read from it."""

import socket
from collections.abc import Sequence
from uuid import UUID

from batchyard.encryption import Vault
from batchyard.models import BatchState, Kind, Phase, Policy, Team
from batchyard.operations.providers import add_provider
from batchyard.operations.teams import ensure_team
from batchyard.store.db import Database
from tests.factories import make_batch, make_items

KEY = "a key of these tests, long enough"


def closed_url() -> str:
    """Return an address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}/items"


async def default_team(db: Database) -> Team:
    return await ensure_team(db, slug="default", name="Default")


async def add_http(
    db: Database, name: str, *, policy: Policy = Policy.NEITHER, **settings: object
) -> None:
    """Store an http provider that cannot be reached."""
    await add_provider(
        db,
        Vault(KEY),
        name=name,
        kind="http",
        settings={"url": closed_url(), "policy": policy, **settings},
        secret=None,
        allow_private=True,
    )


async def make_unknown(
    db: Database, *, team: Team, n: int = 1, state: BatchState = BatchState.RUNNING
) -> tuple[UUID, Sequence[UUID]]:
    """Make a batch of shipments whose outcomes are unknown."""
    batch_id = await make_batch(db, team=team, state=state)
    ids = await make_items(
        db, team=team, batch_id=batch_id, n=n, phase=Phase.UNKNOWN, status="unknown"
    )
    return batch_id, ids


async def make_ready(
    db: Database,
    *,
    team: Team,
    n: int = 1,
    kind: Kind = Kind.SHIPMENT,
    state: BatchState = BatchState.RUNNING,
    is_single: bool = False,
) -> UUID:
    """Make a batch with items that were not sent."""
    batch_id = await make_batch(db, team=team, kind=kind, state=state, is_single=is_single)
    await make_items(db, team=team, batch_id=batch_id, n=n)
    return batch_id


async def read(db: Database, query: str, *args: object) -> object:
    """Return the first value of a query."""
    async with db.pool.connection() as conn:
        row = await (await conn.execute(query.encode(), args)).fetchone()
    return row[0] if row else None


async def write(db: Database, statement: str, *args: object) -> None:
    """Run a statement."""
    async with db.pool.connection() as conn:
        await conn.execute(statement.encode(), args)


async def statuses(db: Database, batch_id: UUID) -> dict[str, int]:
    """Return the counts of a batch by status."""
    async with db.pool.connection() as conn:
        cursor = await conn.execute(
            "SELECT status, n FROM batch_counts WHERE batch_id = %s AND n <> 0", (batch_id,)
        )
        return {str(status): int(str(n)) for status, n in await cursor.fetchall()}
