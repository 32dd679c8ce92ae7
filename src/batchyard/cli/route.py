"""`batchyard route`: which provider gets which items."""

import asyncio
from typing import Annotated
from uuid import UUID

import typer

from batchyard.cli import options, session, tables, values
from batchyard.config import Config
from batchyard.models import Kind
from batchyard.operations import administration, providers
from batchyard.store.providers import RouteRow

route = typer.Typer(no_args_is_help=True, help="Lead items to providers.")


@route.command("set")
def set_(
    *,
    team: options.TeamSlug,
    kind: Annotated[
        Kind,
        typer.Option(
            parser=values.word_of(Kind, what="kind of item"),
            help="What is led there.",
            metavar="|".join(Kind),
        ),
    ],
    agent: Annotated[
        UUID | None, typer.Option(help="Only the calls of this agent.", metavar="ID")
    ] = None,
    provider: Annotated[str, typer.Option(help="Where they go.", metavar="NAME")],
    data_dir: options.DataDir = None,
) -> None:
    """Lead a team's calls or shipments, or one agent's calls, to a provider.

    Replaces the route before; workers follow within a second. What no route leads elsewhere goes
    to the sandbox.
    """
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        asyncio.run(_set(settings, url, team=team, kind=kind, agent=agent, provider=provider))
    whose = f"of team {team}" if agent is None else f"of agent {agent}"
    typer.echo(f"Every {kind} {whose} goes to {provider}.")


async def _set(
    settings: Config, url: str, *, team: str, kind: Kind, agent: UUID | None, provider: str
) -> None:
    async with session.database(settings, url) as db:
        found = await session.find_team(db, team)
        await administration.set_route(
            db,
            team=found,
            actor=session.find_actor(),
            kind=kind,
            agent_id=agent,
            provider=provider,
        )


@route.command("list")
def list_(*, as_json: options.Json = False, data_dir: options.DataDir = None) -> None:
    """List the routes of all teams."""
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        routes = asyncio.run(_list(settings, url))
    if as_json:
        tables.print_json(
            [
                {"team": r.team, "kind": r.kind, "agent": r.agent_id, "provider": r.provider}
                for r in routes
            ]
        )
        return
    rows = [(r.team, r.kind, r.agent_id or "all", r.provider) for r in routes]
    tables.print_table(("team", "kind", "agent", "provider"), rows)
    typer.echo("Everything else goes to the sandbox.", err=True)


async def _list(settings: Config, url: str) -> list[RouteRow]:
    async with session.database(settings, url) as db:
        return await providers.list_routes(db)
