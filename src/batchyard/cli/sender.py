"""`batchyard sender`: where the team sends its shipments from."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from batchyard.cli import exit_codes, options, remote, tables
from batchyard.errors import InvalidRequest

LARGEST_BYTES = 64 * 1024
OBJECT = TypeAdapter(dict[str, object])

sender = typer.Typer(no_args_is_help=True, help="Say where the team sends its shipments from.")


@sender.command("set")
def set_(
    *,
    file: Annotated[
        str,
        typer.Option(
            help="JSON with address and contact, as of a receiver; - for standard input.",
            metavar="FILE",
        ),
    ],
) -> None:
    """Set the sender of the team; it replaces the one before, for everything not sent yet.

    The file has the address and contact of a receiver of a shipment, and may have identifiers, and
    return_to with an address and contact of its own. docs/providers/karrio.md shows one.
    """
    given = _read(file)
    kept = remote.ask(lambda client: client.set_sender(given))
    address = OBJECT.validate_python(kept["address"])
    typer.echo(f"The team sends from {address['city']}, {address['country']}.")


@sender.command()
def show(*, as_json: options.Json = False) -> None:
    """Print the sender of the team as JSON, as `set` reads it; exit code 1 when there is none.

    With --json none is `null`.
    """
    stored = remote.ask(lambda client: client.sender())
    if stored is None:
        if as_json:
            tables.print_json(None)
        typer.echo("The team has no sender yet. Set it: batchyard sender set", err=True)
        raise typer.Exit(exit_codes.NOT_SO)
    tables.print_json(_said(stored))


def _said(value: object) -> object:
    """Return what was said, without what may be left out."""
    if not isinstance(value, Mapping):
        return value
    return {name: _said(one) for name, one in value.items() if one is not None}


def _read(file: str) -> Mapping[str, object]:
    try:
        if file == "-":
            content = sys.stdin.buffer.read(LARGEST_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise InvalidRequest(f"The sender cannot be read from {file}: {error}.") from error
    if len(content) > LARGEST_BYTES:
        raise InvalidRequest(f"{file} is no sender: it has more than {LARGEST_BYTES} bytes.")
    try:
        return OBJECT.validate_python(json.loads(content))
    except ValidationError as error:
        raise InvalidRequest(f"{file} is no sender: it is not an object.") from error
    except ValueError as error:
        raise InvalidRequest(f"{file} is not JSON: {error}.") from error
