"""What every command does first: settings, logs, PostgreSQL, an open database."""

import os
import pwd
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from batchyard import config, logs
from batchyard.cli.secret_key import keep_secret_key
from batchyard.config import Config
from batchyard.encryption import Vault
from batchyard.errors import ConfigError, Conflict, NotFound
from batchyard.models import Team
from batchyard.operations import teams
from batchyard.operations.access import ensure_token
from batchyard.operations.audit import Actor
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
        team = await teams.ensure_team(db, slug=DEFAULT_TEAM, name="Default", actor=find_actor())
        if settings.bootstrap_token is not None:
            token = settings.bootstrap_token.get_secret_value()
            try:
                await ensure_token(db, team=team, token=token, name="bootstrap", actor=find_actor())
            except Conflict as error:
                raise ConfigError(
                    f"{error.message} Set BATCHYARD_BOOTSTRAP_TOKEN to another value, or unset it."
                ) from error
        yield db
    finally:
        await db.close()


def complete(settings: Config) -> Config:
    """Return the settings with a secret key, where the private PostgreSQL is used.

    Every process of a data folder needs the same key, and a person who gave no database should
    not have to make one, so it is kept in that folder. To be called once the folder is ready.
    """
    if settings.database_url is not None or settings.secret_key is not None:
        return settings
    return settings.model_copy(update={"secret_key": keep_secret_key(settings.data_dir)})


def open_vault(settings: Config) -> Vault:
    """Return what locks and opens stored secrets; for complete settings."""
    key = settings.secret_key
    return Vault(None if key is None else key.get_secret_value())


async def find_team(db: Database, slug: str) -> Team:
    """Return the team of this slug; raise `NotFound` with what to do."""
    found = await teams.find_team(db, slug_or_uuid=slug)
    if found is None:
        raise NotFound(f"There is no team {slug!r}. Make it: batchyard team create NAME.")
    return found


def find_actor() -> Actor:
    """Return who decides and where: the user of this machine."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Actor(name=f"cli:{name}", source=socket.gethostname())
