"""A private PostgreSQL with its usual, durable settings, and what is done in it from outside."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Identifier

from batchyard.clock import monotonic
from batchyard.models import Kind, Team
from batchyard.operations.access import create_token
from batchyard.operations.batches import dispatch_batch
from batchyard.operations.teams import create_team, find_team
from batchyard.store import embedded
from batchyard.store.cluster import Cluster
from batchyard.store.db import Database
from batchyard.store.migrate import migrate

T = TypeVar("T")

SLUG = "bench"
PG_VERSION = 18
LOOK_SECONDS = 0.02
PATIENCE_SECONDS = 600.0
"""After so long a drain is given up: something hangs."""
END_SECONDS = 30.0


@contextmanager
def postgres() -> Iterator[str]:
    """Lend the URL of a fresh private PostgreSQL, migrated."""
    folder = Path(tempfile.mkdtemp(prefix="batchyard-bench-", dir="/var/tmp"))
    folder.chmod(0o755)
    server = embedded.start(folder / "data", pg_version=PG_VERSION, idle_seconds=0)
    try:
        migrate(server.url)
        yield server.url
    finally:
        server.release()
        wait_for_end(folder / "data", version=PG_VERSION)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_end(data_dir: Path, *, version: int) -> None:
    """Return once the private PostgreSQL of a folder has ended by itself."""
    cluster = Cluster(folder=data_dir, version=version)
    deadline = monotonic() + END_SECONDS
    while cluster.find_postmaster() is not None and monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def another_database(url: str, name: str) -> str:
    """Make a further database on the same server, migrated; return its URL."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    other = url.replace("/postgres?", f"/{name}?")
    migrate(other)
    return other


def ensure_team(url: str, slug: str = SLUG) -> Team:
    """Return the team everything belongs to, or another one."""

    async def ensure(db: Database) -> Team:
        found = await find_team(db, slug_or_uuid=slug)
        return found or await create_team(db, name=slug.title(), slug=slug)

    return do(url, ensure)


def make_token(url: str) -> str:
    """Make a token of the team."""
    team = ensure_team(url)
    return do(url, lambda db: create_token(db, team=team, name="bench"))


def dispatch(
    url: str, batch_ids: Sequence[UUID], *, kind: Kind = Kind.SHIPMENT, slug: str = SLUG
) -> float:
    """Let batches begin; return when that was committed, by the clock of `monotonic`."""
    team = ensure_team(url, slug)

    async def dispatch_all(db: Database) -> float:
        for batch_id in batch_ids:
            await dispatch_batch(db, team=team, kind=kind, batch_id=batch_id)
        return monotonic()

    return do(url, dispatch_all)


def do(url: str, work: Callable[[Database], Awaitable[T]]) -> T:
    """Do what is done by the operations."""

    async def run() -> T:
        async with opened(url) as db:
            return await work(db)

    return asyncio.run(run())


def wait_until_ended(
    url: str, batch_ids: Sequence[UUID], *, check: Callable[[], None] = lambda: None
) -> float:
    """Wait for the last batch; return when that was seen, by the clock of `monotonic`.

    `check` raises when it is no use to wait any longer.
    """
    deadline = monotonic() + PATIENCE_SECONDS
    with psycopg.connect(url, autocommit=True) as connection:
        while monotonic() < deadline:
            if count_open(connection, batch_ids) == 0:
                return monotonic()
            check()
            time.sleep(LOOK_SECONDS)
    raise TimeoutError(f"not ended within {PATIENCE_SECONDS:.0f} s")


def count_open(connection: psycopg.Connection[tuple[object, ...]], ids: Sequence[UUID]) -> int:
    """Return how many of these batches have not ended."""
    row = connection.execute(
        "SELECT count(*) FROM batches WHERE id = ANY(%s) AND finished_at IS NULL", (list(ids),)
    ).fetchone()
    return int(str(row[0])) if row else 0


def count_ready(url: str, ids: Sequence[UUID]) -> int:
    """Return how many items of these batches have not begun."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT coalesce(sum(n), 0) FROM batch_counts"
            " WHERE batch_id = ANY(%s) AND phase = 'ready'",
            (list(ids),),
        ).fetchone()
    return int(row[0]) if row else 0


def settle(url: str) -> None:
    """Leave nothing to autovacuum, nor to a checkpoint, that is not of what comes now."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def empty(url: str) -> None:
    """Take out every batch; teams and agents stay."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE batches, items, item_data, batch_counts CASCADE")


def without_limits(url: str) -> None:
    """Take away every limit that was set."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE limits CASCADE")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """Lend the database as the operations take it."""
    db = Database(url)
    await db.open()
    try:
        yield db
    finally:
        await db.close()
