"""Dumps of the private PostgreSQL, and a dump put in its place, by the programs of the wheel."""

from pathlib import Path

import psycopg
from psycopg import errors, sql

from batchyard.errors import Conflict, StoreError
from batchyard.store import programs
from batchyard.store.cluster import Cluster

LIVE = "postgres"
FRESH = "batchyard_restoring"
REPLACED = "batchyard_replaced"
MAINTENANCE = "template1"


def dump(cluster: Cluster, *, file: Path) -> None:
    """Write the running database into a file, whole or not at all; raise `StoreError`."""
    spare = file.with_name(f"{file.name}.part")
    try:
        spare.touch(mode=0o600)
        _run(
            cluster,
            "pg_dump",
            *("--format=custom", "--file", str(spare.resolve()), "--dbname", cluster.url),
        )
        spare.replace(file)
    except OSError as error:
        raise StoreError(f"{file} cannot be written: {error.strerror}.") from error
    finally:
        spare.unlink(missing_ok=True)


def check_dump(cluster: Cluster, *, file: Path) -> None:
    """Raise `StoreError` unless the file is a dump that can be read."""
    _run(cluster, "pg_restore", "--list", str(file.resolve()))


def is_empty(cluster: Cluster) -> bool:
    """Tell whether nothing was ever stored."""
    with psycopg.connect(cluster.url) as connection:
        row = connection.execute("SELECT to_regclass('public.batches') IS NULL").fetchone()
    return bool(row and row[0])


def restore(cluster: Cluster, *, file: Path) -> None:
    """Put a dump in the place of the running database, whole or not at all.

    Raises `Conflict` while anybody is connected, and `StoreError` when the dump is no good.

    1. Restore into a database beside it.
    2. Exchange the two by their names, in one transaction; the old one is dropped.
    """
    with psycopg.connect(_url(cluster, MAINTENANCE), autocommit=True) as connection:
        for name in (FRESH, REPLACED):
            _execute(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
        _execute(connection, "CREATE DATABASE {} TEMPLATE template0", FRESH)
        try:
            _run(
                cluster,
                "pg_restore",
                *("--single-transaction", "--no-owner", "--dbname", _url(cluster, FRESH)),
                str(file.resolve()),
            )
            with connection.transaction():
                _execute(connection, "ALTER DATABASE {} RENAME TO {}", LIVE, REPLACED)
                _execute(connection, "ALTER DATABASE {} RENAME TO {}", FRESH, LIVE)
        except errors.ObjectInUse as error:
            raise Conflict(
                "The database is in use. Stop every server and worker of this data folder first."
            ) from error
        finally:
            for name in (FRESH, REPLACED):
                _execute(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def _run(cluster: Cluster, program: str, *arguments: str) -> None:
    folder = programs.find(cluster.version, spare_folder=cluster.folder / "programs")
    # As ourselves: who may enter the folder of the socket may connect, and owns the file.
    complaint = programs.run([str(folder / program), *arguments], user=None, folder=cluster.folder)
    if complaint is not None:
        raise StoreError(f"{program} failed: {complaint}")


def _execute(
    connection: psycopg.Connection[tuple[object, ...]], statement: str, *names: str
) -> None:
    query = sql.SQL(statement).format(*map(sql.Identifier, names))
    connection.execute(query)


def _url(cluster: Cluster, name: str) -> str:
    return cluster.url.replace(f"/{LIVE}?", f"/{name}?", 1)
