"""`batchyard up`: everything in one process."""

from typing import Annotated

import typer

from batchyard.cli import options, services, session, web


def up(
    *,
    workers: Annotated[
        int, typer.Option(min=0, max=1, help="Workers inside this process; 0 runs none.")
    ] = 1,
    host: options.Host = None,
    port: options.Port = None,
    data_dir: options.DataDir = None,
) -> None:
    """Run the server and a worker in one process.

    Starts a private PostgreSQL unless BATCHYARD_DATABASE_URL names one. Ctrl-C stops it all.
    More workers may join at any time: `batchyard worker`.
    """
    settings = services.at_a_terminal(session.configure(host=host, port=port, data_dir=data_dir))
    with web.listening(settings) as (settings, serve):
        services.run(settings, [serve, *[services.work] * workers])
