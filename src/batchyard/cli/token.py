"""`batchyard token`: what clients identify themselves with."""

import asyncio
from typing import Annotated

import typer

from batchyard.cli import options, session
from batchyard.config import Config
from batchyard.errors import NotFound
from batchyard.operations.access import create_token
from batchyard.operations.teams import find_team

token = typer.Typer(no_args_is_help=True, help="Make tokens, with which clients speak for a team.")


@token.callback()
def _commands() -> None:
    """Keep `token` a group while it has one command."""


@token.command()
def create(
    *,
    team: Annotated[str, typer.Option(help="Slug of the team.", metavar="SLUG")],
    name: Annotated[str, typer.Option(help="What the token is for.", metavar="TEXT")] = "",
    bolna_version: Annotated[
        str | None,
        typer.Option(
            help="Answer this client as Bolna did then: 2024-01 or 2026-08.", metavar="VERSION"
        ),
    ] = None,
    data_dir: options.DataDir = None,
) -> None:
    """Make a token and print it, once: only its hash is kept."""
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        text = asyncio.run(_create(settings, url, team=team, name=name, version=bolna_version))
    typer.echo(text)
    typer.echo("Keep it: it cannot be shown again.", err=True)


async def _create(settings: Config, url: str, *, team: str, name: str, version: str | None) -> str:
    async with session.database(settings, url) as db:
        found = await find_team(db, slug_or_uuid=team)
        if found is None:
            raise NotFound(f"There is no team {team!r}. Make it: batchyard team create NAME.")
        return await create_token(db, team=found, name=name, bolna_version=version)
