"""`batchyard team`: tenants."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from batchyard.cli import options, session, tables
from batchyard.cli.rules import rules
from batchyard.config import Config
from batchyard.models import Team
from batchyard.operations.teams import create_team, list_teams

team = typer.Typer(no_args_is_help=True, help="Make teams, the tenants of an installation.")
team.command("rules")(rules)


@team.command()
def create(
    name: Annotated[str, typer.Argument(help="What people call it.", show_default=False)],
    *,
    slug: Annotated[
        str | None,
        typer.Option(help="Its name in addresses; made from NAME unless given.", metavar="SLUG"),
    ] = None,
    locale: Annotated[str, typer.Option(help="Language of its messages.", metavar="TAG")] = "en",
    timezone: Annotated[str, typer.Option(help="Its own time zone.", metavar="ZONE")] = "UTC",
    data_dir: options.DataDir = None,
) -> None:
    """Make a team and print its slug."""
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        made = asyncio.run(
            _create(settings, url, name=name, slug=slug, locale=locale, zone=timezone)
        )
    typer.echo(made.slug)
    typer.echo(f"Next: batchyard token create --team {made.slug}", err=True)


async def _create(
    settings: Config, url: str, *, name: str, slug: str | None, locale: str, zone: str
) -> Team:
    async with session.database(settings, url) as db:
        return await create_team(
            db,
            name=name,
            slug=slug,
            locale=locale,
            timezone=zone,
            actor=session.find_actor(),
        )


@team.command("list")
def list_(*, as_json: options.Json = False, data_dir: options.DataDir = None) -> None:
    """List the teams of the installation."""
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        listed = asyncio.run(_list(settings, url))
    if as_json:
        # The number is the database's own; others know a team by its uuid.
        tables.print_json([{k: v for k, v in asdict(one).items() if k != "id"} for one in listed])
        return
    headings = ("slug", "name", "language", "time zone", "weight", "since")
    tables.print_table(
        headings,
        [
            (
                one.slug,
                one.name,
                one.locale,
                one.timezone,
                one.weight,
                tables.show_minute(one.created_at),
            )
            for one in listed
        ],
    )


async def _list(settings: Config, url: str) -> list[Team]:
    async with session.database(settings, url) as db:
        return await list_teams(db)
