"""`batchyard mapping`: what the columns of the team's lists mean, kept under names."""

from pathlib import Path
from typing import Annotated

import typer

from batchyard.cli import list_options, options, remote, sending, tables, values
from batchyard.client import SavedMapping
from batchyard.models import Kind
from batchyard.operations.mappings import read_header

mapping = typer.Typer(
    no_args_is_help=True, help="Keep what the columns of lists mean, for lists to come."
)

HEADER_BYTES = 65_536
"""More of a file is not looked at for its header."""

Name = Annotated[str, typer.Argument(help="What it is called.", show_default=False)]
KindOfItem = Annotated[
    Kind,
    typer.Option(
        parser=values.word_of(Kind, what="kind of item"),
        help="What the rows of its lists are.",
        metavar="|".join(Kind),
    ),
]


@mapping.command()
def save(
    name: Name,
    *,
    kind: KindOfItem = Kind.CALL,
    map_: Annotated[
        list[str],
        typer.Option(
            "--map",
            help="What a column means; repeat it. Nothing behind the = leaves the column out.",
            metavar="COLUMN=MEANING",
            show_default=False,
        ),
    ],
    header: Annotated[
        Path | None,
        typer.Option(
            help="A CSV; when its very header comes again without a mapping, this one is named.",
            metavar="FILE",
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            help="How that CSV is written, such as windows-1251; found out unless said.",
            metavar="NAME",
        ),
    ] = None,
) -> None:
    """Keep what columns mean under a name; one of the same name is replaced.

    A list uses it by `--mapping NAME`.
    """
    meanings = list_options.read_map(map_) or {}
    cells = None if header is None else _read_header(header, kind=kind, encoding=encoding)
    remote.ask(lambda client: client.save_mapping(kind, name, meanings, header=cells))
    typer.echo(f"The mapping {name} is kept. A list uses it: --mapping {tables.quote(name)}")


@mapping.command("list")
def list_(*, as_json: options.Json = False) -> None:
    """List the team's mappings."""
    rows = remote.ask(lambda client: client.mappings())
    if as_json:
        tables.print_json([row.model_dump(mode="json") for row in rows])
        return
    if not rows:
        typer.echo("There is none yet: batchyard mapping save NAME --map COLUMN=MEANING")
        return
    tables.print_table(("mapping", "of", "columns"), [_cells(row) for row in rows])


@mapping.command()
def remove(name: Name, *, kind: KindOfItem = Kind.CALL) -> None:
    """Forget a mapping; lists that came in by it stay as they are."""
    remote.ask(lambda client: client.remove_mapping(kind, name))
    typer.echo(f"The mapping {name} is forgotten.")


def _read_header(file: Path, *, kind: Kind, encoding: str | None) -> tuple[str, ...]:
    """Return the cells of a CSV's header; raise `InvalidRequest` where there is none."""
    sending.check_file(file)
    with file.open("rb") as opened:
        return read_header(opened.read(HEADER_BYTES), kind=kind, encoding=encoding)


def _cells(row: SavedMapping) -> tuple[object, ...]:
    columns = [f"{column}={meaning or ''}" for column, meaning in row.mapping.items()]
    return row.name, f"{row.kind}s", ", ".join(columns)
