"""Brings a database to this build's schema, and refuses one that it cannot run on."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any, Self, cast

import psycopg
import yoyo
from procrastinate.schema import SchemaManager
from psycopg import errors, sql
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.migrations import Migration, default_migration_table

from batchyard.errors import ConfigError, StoreError
from batchyard.store.db import Connection
from batchyard.store.urls import unreachable

MIGRATIONS = Path(__file__).parent / "migrations"

OLDEST_SCHEMA = 135
"""The last migration whose columns the statements of this build name. Expand first, contract one
release later, so that the build before goes on while this one is installed."""

LOCK_TIMEOUT = "2s"
LOCK_TRIES = 30
LOCK_PAUSE_SECONDS = 1.0
"""A migration that waits for a lock holds up all behind it, so it gives way and tries again."""

ADVISORY_LOCK = 0x6261_7463_6879_7264
"""The letters `batchyrd`; PostgreSQL frees it when its holder dies, unlike yoyo's lock table."""

CONNECT_TIMEOUT_SECONDS = 10

SyncConnection = psycopg.Connection[tuple[object, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """Where a database stands: our migration's number, and the engine's newest file."""

    version: int
    engine: str | None


def newest_schema() -> Schema:
    """Return what this build migrates to."""
    return Schema(
        version=max(int(path.name.split(".")[0]) for path in MIGRATIONS.glob("*.sql")),
        engine=_engine_migrations()[-1].stem,
    )


def migrate(url: str) -> None:
    """Bring the database to this build's schema; safe to repeat, and to run twice at once.

    Raises `ConfigError` when the database cannot be reached, or a newer build has migrated it.
    """
    with _locked(url) as connection:
        found = _read(connection)
        if found is not None:
            _refuse_newer(found)
        try:
            _apply_ours(url)
            _apply_engine(connection)
        except errors.InsufficientPrivilege as error:
            raise ConfigError(
                f"The database cannot be migrated: {_first_line(error)}. Let its owner run "
                "`batchyard migrate`, or grant this user CREATE on the schema."
            ) from error
        except psycopg.Error as error:
            raise StoreError(f"The database cannot be migrated: {_first_line(error)}.") from error


async def check_schema(conn: Connection) -> None:
    """Raise `ConfigError` naming the helping command where this build cannot run."""
    row = await (await conn.execute(HAS_SCHEMA)).fetchone()
    if row != (True,):
        raise ConfigError("The database has no Batchyard schema. Run `batchyard migrate`.")
    found = _schema(await (await conn.execute(READ_SCHEMA)).fetchone())
    _refuse_newer(found)
    newest = newest_schema()
    if found.version < OLDEST_SCHEMA or found.engine != newest.engine:
        raise ConfigError(
            f"The database has schema {found.version}, this build needs "
            f"{OLDEST_SCHEMA} to {newest.version}. Run `batchyard migrate`."
        )


def _refuse_newer(found: Schema) -> None:
    newest = newest_schema()
    if found.version > newest.version or (found.engine or "") > (newest.engine or ""):
        raise ConfigError(
            f"The database was migrated by a newer Batchyard (schema {found.version}, this build "
            f"knows {newest.version}). Upgrade Batchyard."
        )


HAS_SCHEMA = f"""
SELECT to_regclass('{default_migration_table}') IS NOT NULL
   AND to_regclass('installation') IS NOT NULL
"""

READ_SCHEMA = f"""
SELECT (SELECT max(migration_id) FROM {default_migration_table}),
       (SELECT convert_from(value, 'UTF8') FROM installation WHERE name = 'engine_schema')
"""


def _read(connection: SyncConnection) -> Schema | None:
    if connection.execute(HAS_SCHEMA).fetchone() != (True,):
        return None
    return _schema(connection.execute(READ_SCHEMA).fetchone())


def _schema(row: tuple[object, ...] | None) -> Schema:
    newest, engine = row or (None, None)
    number = re.match(r"\d+", str(newest))
    return Schema(
        version=int(number[0]) if number else 0, engine=None if engine is None else str(engine)
    )


@contextmanager
def _locked(url: str) -> Iterator[SyncConnection]:
    try:
        connection = psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            client_encoding="UTF8",
        )
    except (psycopg.Error, UnicodeError) as error:
        raise unreachable(error) from error
    with connection:
        # A role's own time limits must not end the wait for another migrator, nor the lock.
        for setting in ("statement_timeout", "lock_timeout", "idle_session_timeout"):
            connection.execute(sql.SQL("SET {} = 0").format(sql.Identifier(setting)))
        connection.execute("SET client_min_messages = warning")
        connection.execute("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
        # Closing the connection frees the lock.
        yield connection


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo has no types
    """yoyo's order and books on one connection of ours, made by libpq's own URL rules."""

    def connect(self, dburi: str) -> SyncConnection:
        connection = psycopg.connect(dburi, autocommit=True, client_encoding="UTF8")
        connection.execute("SET client_min_messages = warning")
        connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        return connection

    def __enter__(self) -> Self:
        return self

    def list_tables(self, **_: object) -> list[str]:
        rows = self.connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema"
        )
        return [str(row[0]) for row in rows]

    @contextmanager
    def lock(self, timeout: float = 0) -> Iterator[None]:  # noqa: ARG002  # yoyo's signature
        """Do nothing: the advisory lock is held already."""
        yield

    def apply_one(self, migration: Migration, **_: object) -> None:
        """Apply and record in one transaction; yoyo takes two, and a kill between them blocks."""
        migration.load()
        for _again in range(LOCK_TRIES - 1):
            try:
                self._apply_once(migration)
            except psycopg.errors.LockNotAvailable:
                time.sleep(LOCK_PAUSE_SECONDS)
            else:
                return
        self._apply_once(migration)

    def _apply_once(self, migration: Migration) -> None:
        if migration.use_transactions:
            with self.transaction():
                migration.process_steps(self, "apply")
                self.mark_one(migration, log=False)
        else:
            migration.process_steps(self, "apply")
            with self.transaction():
                self.mark_one(migration, log=False)


def _apply_ours(url: str) -> None:
    with _Backend(url, default_migration_table) as backend:
        migrations: Any = yoyo.read_migrations(escape(str(MIGRATIONS)))
        backend.apply_migrations(backend.to_apply(migrations))


RECORD_ENGINE = """
INSERT INTO installation (name, value) VALUES ('engine_schema', convert_to(%s, 'UTF8'))
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""


def _apply_engine(connection: SyncConnection) -> None:
    """Give a fresh database the engine's schema, another the engine's later migrations."""
    migrations = _engine_migrations()
    row = connection.execute(READ_SCHEMA).fetchone()
    recorded = _schema(row).engine
    if recorded is None:
        found = connection.execute("SELECT to_regclass('procrastinate_jobs')").fetchone()
        if found != (None,):
            raise ConfigError(
                "The database holds tables of another application that uses Procrastinate. "
                "Give Batchyard a database of its own."
            )
        with connection.transaction():
            connection.execute(SchemaManager.get_schema())
            connection.execute(RECORD_ENGINE, (migrations[-1].stem,))
        return
    for path in migrations:
        if path.stem > recorded:
            with connection.transaction():
                connection.execute(cast("Any", path.read_text(encoding="utf-8")))
                connection.execute(RECORD_ENGINE, (path.stem,))


def _engine_migrations() -> list[Path]:
    return sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
