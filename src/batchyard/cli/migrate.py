"""`batchyard migrate`: the database's schema, brought up to date."""

import typer

from batchyard.cli import options, session
from batchyard.store.migrate import migrate as migrate_database
from batchyard.store.migrate import newest_schema


def migrate(*, data_dir: options.DataDir = None) -> None:
    """Bring the database to this version's schema.

    Safe to repeat, and while servers and workers run. The private PostgreSQL is migrated at
    every start; an own one only by this command.
    """
    with session.postgres(session.configure(data_dir=data_dir)) as url:
        migrate_database(url)
    typer.echo(f"The database has schema {newest_schema().version}.")
