import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from batchyard.errors import ConfigError, StoreError
from batchyard.store import migrate as migrating
from batchyard.store.db import Database
from batchyard.store.migrate import check_schema, migrate, newest_schema
from tests.waiting import wait_until

TABLES = """
SELECT array_agg(relname::text ORDER BY relname) FROM pg_class
 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""
ENGINE = """
SELECT array_agg(prosrc ORDER BY proname, prosrc) FROM pg_proc WHERE proname LIKE 'procrastinate%'
"""
APPLIED = "SELECT array_agg(migration_id || applied_at_utc ORDER BY 1) FROM _yoyo_migration"
LOCK_WAITERS = "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND NOT granted"
WAITERS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def ask(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


@pytest.fixture
def migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "migrations"
    shutil.copytree(migrating.MIGRATIONS, folder)
    monkeypatch.setattr(migrating, "MIGRATIONS", folder)
    return folder


async def check(url: str) -> None:
    db = Database(url)
    await db.open()
    try:
        async with db.pool.connection() as connection:
            await check_schema(connection)
    finally:
        await db.close()


async def test_migrate_makes_a_schema_this_build_runs_on(empty_database_url: str) -> None:
    migrate(empty_database_url)

    tables = ask(empty_database_url, TABLES)
    assert isinstance(tables, list)
    assert {"teams", "items", "batch_counts", "procrastinate_jobs"} <= set(tables)
    await check(empty_database_url)


def test_migrate_again_changes_nothing(database_url: str) -> None:
    before = ask(database_url, TABLES), ask(database_url, APPLIED)

    migrate(database_url)

    assert (ask(database_url, TABLES), ask(database_url, APPLIED)) == before


def test_migrate_several_at_once_all_succeed(empty_database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, [empty_database_url] * 4))

    known = len(list(migrating.MIGRATIONS.glob("*.sql")))
    assert ask(empty_database_url, "SELECT count(*) FROM _yoyo_migration") == known


def test_migrate_waits_for_another_and_survives_its_death(empty_database_url: str) -> None:
    other = psycopg.connect(empty_database_url, autocommit=True)
    with closing(other), ThreadPoolExecutor(1) as pool:
        other.execute("SELECT pg_advisory_lock(%s)", (migrating.ADVISORY_LOCK,))
        ours = pool.submit(migrate, empty_database_url)
        wait_until(lambda: ask(empty_database_url, WAITERS) == 1)
        assert not ours.done()

        pid = other.info.backend_pid
        ask(empty_database_url, f"SELECT pg_terminate_backend({pid})")
        ours.result(60)


def test_migration_that_breaks_leaves_nothing_behind(database_url: str, migrations: Path) -> None:
    number = newest_schema().version + 1
    extra = migrations / f"{number:04}.extra.sql"
    extra.write_text("CREATE TABLE extra (n integer);\nSELECT 1 / 0;\n")

    with pytest.raises(StoreError, match="division by zero"):
        migrate(database_url)
    assert ask(database_url, "SELECT to_regclass('extra') IS NULL")

    extra.write_text("CREATE TABLE extra (n integer);\n")
    migrate(database_url)
    assert ask(database_url, "SELECT to_regclass('extra') IS NOT NULL")


def test_migration_gives_way_to_those_who_use_its_table(
    database_url: str, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrating, "LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(migrating, "LOCK_PAUSE_SECONDS", 0.2)
    number = newest_schema().version + 1
    (migrations / f"{number:04}.extra.sql").write_text("ALTER TABLE items ADD COLUMN extra int;\n")
    reader = psycopg.connect(database_url)
    with ThreadPoolExecutor(1) as pool, closing(reader):
        reader.execute("SELECT count(*) FROM items")
        ours = pool.submit(migrate, database_url)
        wait_until(lambda: ask(database_url, LOCK_WAITERS) == 1)
        # Would break off if it had to wait behind the migration until the reader has ended.
        ask(database_url, "SET statement_timeout = '15s'; SELECT count(*) FROM items")
        assert not ours.done()
        reader.rollback()
        ours.result(60)
    assert ask(database_url, "SELECT count(extra) FROM items") == 0


async def test_database_of_a_newer_build_is_refused(database_url: str, migrations: Path) -> None:
    number = newest_schema().version + 1
    extra = migrations / f"{number:04}.extra.sql"
    extra.write_text("CREATE TABLE extra (n integer);\n")
    migrate(database_url)
    extra.unlink()

    with pytest.raises(ConfigError, match=r"newer Batchyard .*Upgrade Batchyard"):
        await check(database_url)
    with pytest.raises(ConfigError, match=r"newer Batchyard .*Upgrade Batchyard"):
        migrate(database_url)


async def test_database_never_migrated_names_the_command(empty_database_url: str) -> None:
    with pytest.raises(ConfigError, match="Run `batchyard migrate`"):
        await check(empty_database_url)


async def test_database_of_an_older_build_names_the_command(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = newest_schema().version
    monkeypatch.setattr(migrating, "OLDEST_SCHEMA", newest + 1)

    with pytest.raises(ConfigError, match=f"has schema {newest}.*Run `batchyard migrate`"):
        await check(database_url)


def test_engine_of_an_older_build_is_brought_to_the_newest(
    empty_database_url: str, database_url: str
) -> None:
    older = migrating._engine_migrations()[:-6]
    migrating._apply_ours(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        for path in older:
            connection.execute(path.read_bytes())
        connection.execute(migrating.RECORD_ENGINE, (older[-1].stem,))
    assert ask(empty_database_url, ENGINE) != ask(database_url, ENGINE)

    migrate(empty_database_url)

    assert ask(empty_database_url, ENGINE) == ask(database_url, ENGINE)


def test_database_with_a_foreign_engine_is_refused(empty_database_url: str) -> None:
    ask(empty_database_url, "CREATE TABLE procrastinate_jobs ()")

    with pytest.raises(ConfigError, match="a database of its own"):
        migrate(empty_database_url)


def test_role_that_may_not_create_is_told_so(empty_database_url: str) -> None:
    ask(empty_database_url, "CREATE ROLE reader_of_tests LOGIN")
    try:
        with pytest.raises(ConfigError, match="permission denied"):
            migrate(empty_database_url.replace("postgres@", "reader_of_tests:p%40ss@", 1))
    finally:
        ask(empty_database_url, "DROP ROLE reader_of_tests")
