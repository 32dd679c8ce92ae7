"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="FOLDER",
        help="Folder of the private PostgreSQL; processes with the same one share it. "
        "[dim]\\[env: BATCHYARD_DATA_DIR][/dim]",
        show_default=False,
    ),
]

Host = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Address to listen on. [dim]\\[env: BATCHYARD_HOST; default: 127.0.0.1][/dim]",
        show_default=False,
    ),
]

Port = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        metavar="PORT",
        help="Port to listen on, 0 for a free one. "
        "[dim]\\[env: BATCHYARD_PORT; default: 8080][/dim]",
        show_default=False,
    ),
]

TeamSlug = Annotated[str, typer.Option("--team", help="Slug of the team.", metavar="SLUG")]

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
