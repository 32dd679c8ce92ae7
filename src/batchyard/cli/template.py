"""`batchyard template`: a list to start from."""

import sys
from typing import Annotated

import typer

from batchyard.intake.templates import render_template
from batchyard.models import Kind

template = typer.Typer(no_args_is_help=True, help="Print a list to start from, as CSV.")


@template.command()
def calls() -> None:
    """Print a list of calls with one row; columns beside contact_number are yours to name."""
    _print(render_template(Kind.CALL))


@template.command()
def shipments(
    *,
    every: Annotated[
        bool, typer.Option("--every", help="Every column there is, not only the usual ones.")
    ] = False,
) -> None:
    """Print a list of shipments with one row; a 0 in a name may be any index."""
    _print(render_template(Kind.SHIPMENT, is_complete=every))


def _print(content: bytes) -> None:
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
