"""`batchyard backup` and `batchyard restore`: the private database in one file, and back."""

from pathlib import Path
from typing import Annotated

import typer

from batchyard.cli import options, session
from batchyard.config import Config
from batchyard.errors import ConfigError, Conflict, NotFound
from batchyard.store import backups, embedded
from batchyard.store.cluster import Cluster
from batchyard.store.migrate import migrate

File = Annotated[Path, typer.Argument(help="The backup.", metavar="FILE", show_default=False)]


def backup(file: File, *, data_dir: options.DataDir = None) -> None:
    """Write the private database into FILE; everything may go on running meanwhile."""
    settings = session.configure(data_dir=data_dir)
    cluster = _cluster(settings, "pg_dump --format=custom")
    with session.postgres(settings):
        backups.dump(cluster, file=file.absolute())
    typer.echo(str(file))
    typer.echo(
        f"The key of its secrets is not in it: keep {cluster.folder}/secret.key elsewhere, with "
        "documents that BATCHYARD_DOCUMENT_STORE keeps outside.",
        err=True,
    )


def restore(
    file: File,
    *,
    is_replacing: Annotated[
        bool, typer.Option("--replace", help="Throw away what the data folder holds.")
    ] = False,
    data_dir: options.DataDir = None,
) -> None:
    """Put a backup into an empty data folder, or with --replace in place of what is there.

    All of it or none. What was sent after the backup is not in it, so `batchyard restored` must
    be run before any worker.
    """
    settings = session.configure(data_dir=data_dir)
    cluster = _cluster(settings, "pg_restore")
    if not file.is_file():
        raise NotFound(f"There is no file {file}.")
    server = embedded.start(settings.data_dir, pg_version=settings.pg_version)
    try:
        backups.check_dump(cluster, file=file)
        if not is_replacing and not backups.is_empty(cluster):
            raise Conflict(
                f"The data folder {cluster.folder} is not empty. Choose another with --data-dir, "
                "or say --replace to throw away what it holds."
            )
        backups.restore(cluster, file=file)
        migrate(cluster.url)
    finally:
        server.release()
    typer.echo(f"Restored into {cluster.folder}.")
    typer.echo("Next, before any worker: batchyard restored", err=True)


def _cluster(settings: Config, instead: str) -> Cluster:
    if settings.database_url is not None:
        raise ConfigError(
            "BATCHYARD_DATABASE_URL names a PostgreSQL of your own: back it up with its own means, "
            f"such as {instead}. Unset it for the private one."
        )
    return Cluster(folder=settings.data_dir.resolve(), version=settings.pg_version)
