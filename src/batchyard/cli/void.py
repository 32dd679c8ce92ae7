"""`batchyard void`: takes back a shipment that was booked."""

from typing import Annotated
from uuid import UUID

import typer

from batchyard.cli import exit_codes, remote


def void(
    item: Annotated[UUID, typer.Argument(help="Id of the shipment.", show_default=False)],
) -> None:
    """Take back a booked shipment, where its provider does that.

    Exit code 1 when it is marked as cancelled there, but the carrier was not told: then cancel it
    with the carrier. Here it stays booked, with a note.
    """
    voided = remote.ask(lambda client: client.void_item(item))
    typer.echo(voided.sentence)
    if not voided.is_carrier_told:
        raise typer.Exit(exit_codes.NOT_SO)
