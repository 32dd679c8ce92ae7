"""What every command does first: settings, logs, PostgreSQL, an open database."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from batchyard import config, logs
from batchyard.config import Config
from batchyard.operations.access import ensure_token
from batchyard.operations.teams import ensure_team
from batchyard.store import embedded
from batchyard.store.db import Database
from batchyard.store.migrate import check_schema, migrate
from batchyard.store.urls import check_url

DEFAULT_TEAM = "default"


def configure(**overrides: object) -> Config:
    """Read the settings, let the command's options win, and set up the logs."""
    loaded = config.load(**overrides)
    if loaded.database_url is not None:
        check_url(loaded.database_url)
    logs.set_up(loaded.log_level)
    return loaded


@contextmanager
def postgres(settings: Config) -> Iterator[str]:
    """Lend the database's URL: of the given one as it is, or of the private one, migrated."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    server = embedded.start(settings.data_dir, pg_version=settings.pg_version)
    try:
        migrate(server.url)
        yield server.url
    finally:
        server.release()


@asynccontextmanager
async def database(settings: Config, url: str) -> AsyncIterator[Database]:
    """Lend the database, open, with the team `default` and the bootstrap token in it.

    Raises `ConfigError` when the schema is not one that this build runs on.
    """
    db = Database(url)
    try:
        await db.open()
        async with db.pool.connection() as connection:
            await check_schema(connection)
        team = await ensure_team(db, slug=DEFAULT_TEAM, name="Default")
        if settings.bootstrap_token is not None:
            token = settings.bootstrap_token.get_secret_value()
            await ensure_token(db, team=team, token=token, name="bootstrap")
        yield db
    finally:
        await db.close()
