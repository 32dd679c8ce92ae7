"""`batchyard team`: tenants."""

import asyncio
from typing import Annotated

import typer

from batchyard.cli import options, session
from batchyard.config import Config
from batchyard.models import Team
from batchyard.operations.teams import create_team

team = typer.Typer(no_args_is_help=True, help="Make teams, the tenants of an installation.")


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
        return await create_team(db, name=name, slug=slug, locale=locale, timezone=zone)
