"""`batchyard dnc`: numbers that a team does not contact."""

import asyncio
from typing import Annotated

import typer

from batchyard.cli import options, session, tables, values
from batchyard.config import Config
from batchyard.operations import contacts
from batchyard.store.contacts import Entry

dnc = typer.Typer(
    no_args_is_help=True, help="Keep the list of numbers that are never called: do not contact."
)

Number = Annotated[
    str, typer.Argument(help="Phone number with its + and country code.", show_default=False)
]


@dnc.command()
def add(
    number: Number,
    *,
    team: options.TeamSlug,
    reason: Annotated[str | None, typer.Option(help="Why, for people.", metavar="TEXT")] = None,
    until: Annotated[
        str | None,
        typer.Option(
            help="Call it again from this time on, such as 2030-01-29T08:30:00Z. "
            "Left out: never again.",
            metavar="TIME",
        ),
    ] = None,
    data_dir: options.DataDir = None,
) -> None:
    """Never call a number; what was said about it before is replaced.

    Holds for every call that was not sent yet. Nothing bypasses it.
    """
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        entry = asyncio.run(
            _add(settings, url, team=team, number=number, reason=reason, until=until)
        )
    typer.echo(f"{entry.number} is not contacted any more.")


async def _add(
    settings: Config, url: str, *, team: str, number: str, reason: str | None, until: str | None
) -> Entry:
    async with session.database(settings, url) as db:
        return await contacts.add_do_not_contact(
            db,
            team=await session.find_team(db, team),
            number=number,
            reason=reason,
            until=None if until is None else values.read_time(until),
        )


@dnc.command()
def remove(number: Number, *, team: options.TeamSlug, data_dir: options.DataDir = None) -> None:
    """Take a number off the list; it may be called again."""
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        asyncio.run(_remove(settings, url, team=team, number=number))
    typer.echo("The number may be called again.")


async def _remove(settings: Config, url: str, *, team: str, number: str) -> None:
    async with session.database(settings, url) as db:
        await contacts.remove_do_not_contact(
            db, team=await session.find_team(db, team), number=number
        )


@dnc.command("list")
def list_(
    *, team: options.TeamSlug, as_json: options.Json = False, data_dir: options.DataDir = None
) -> None:
    """List the numbers, why, until when, and who wanted it."""
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        entries = asyncio.run(_list(settings, url, team=team))
    rows = [(e.number, e.until, e.source, e.reason) for e in entries]
    if as_json:
        keys = ("number", "until", "source", "reason")
        tables.print_json([dict(zip(keys, row, strict=True)) for row in rows])
        return
    tables.print_table(
        ("number", "until", "wanted by", "reason"),
        [(number, until or "for ever", *rest) for number, until, *rest in rows],
    )


async def _list(settings: Config, url: str, *, team: str) -> list[Entry]:
    async with session.database(settings, url) as db:
        found = await session.find_team(db, team)
        entries: list[Entry] = []
        while page := await contacts.list_do_not_contact(
            db, team=found, after=entries[-1].number if entries else ""
        ):
            entries += page
        return entries
