"""`batchyard dnc`: numbers that the team does not contact."""

from typing import Annotated

import typer

from batchyard.cli import options, remote, tables, values
from batchyard.client import Client, DoNotContact

dnc = typer.Typer(no_args_is_help=True, help="Keep the list of numbers that are never called.")

Number = Annotated[
    str, typer.Argument(help="Phone number with its + and country code.", show_default=False)
]


@dnc.command()
def add(
    number: Number,
    *,
    reason: Annotated[str | None, typer.Option(help="Why, for people.", metavar="TEXT")] = None,
    until: Annotated[
        str | None,
        typer.Option(
            help="Call it again from this time on, such as 2030-01-29T08:30:00Z. "
            "Left out: never again.",
            metavar="TIME",
        ),
    ] = None,
) -> None:
    """Never call a number; what was said about it before is replaced, but an opt-out stays one.

    Holds for every call that was not sent yet. Nothing bypasses it.
    """
    when = None if until is None else values.read_time(until)
    entry = remote.ask(lambda client: client.block_number(number, reason=reason, until=when))
    typer.echo(f"{entry.number} is not contacted any more.")


@dnc.command()
def remove(number: Number) -> None:
    """Take a number off the list; it may be called again."""
    remote.ask(lambda client: client.allow_number(number))
    typer.echo("The number may be called again.")


@dnc.command("list")
def list_(*, as_json: options.Json = False) -> None:
    """List the numbers, why, until when, and who wanted it."""
    entries = remote.ask(_list)
    if as_json:
        tables.print_json([entry.model_dump(mode="json") for entry in entries])
        return
    rows = [(e.number, e.until or "for ever", e.source, e.reason) for e in entries]
    tables.print_table(("number", "until", "wanted by", "reason"), rows)


async def _list(client: Client) -> list[DoNotContact]:
    return [entry async for entry in client.do_not_contact()]
