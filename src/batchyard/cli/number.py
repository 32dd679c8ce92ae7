"""`batchyard number`: the telephone numbers a team calls from."""

import asyncio
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import typer

from batchyard.cli import options, session, tables
from batchyard.config import Config
from batchyard.operations import numbers
from batchyard.store.numbers import NumberRow

number = typer.Typer(no_args_is_help=True, help="Keep the numbers that teams call from.")

Numbers = Annotated[
    list[str], typer.Argument(help="With its plus, such as +4520123456.", show_default=False)
]


@number.command()
def add(
    number: Numbers,
    *,
    team: options.TeamSlug,
    agent: Annotated[
        UUID | None,
        typer.Option(help="Only this agent calls from it.", metavar="ID"),
    ] = None,
    data_dir: options.DataDir = None,
) -> None:
    """Let a team call from numbers; a list that names none of its own takes turns over them.

    An agent with numbers uses only these, every other one those without an agent. Adding a number
    again gives it to another agent, or to all.
    """
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        asyncio.run(_add(settings, url, texts=number, team=team, agent=agent))
    whose = f"team {team}" if agent is None else f"agent {agent}"
    typer.echo(f"{', '.join(number)}: {whose} calls from it.")


async def _add(
    settings: Config, url: str, *, texts: Sequence[str], team: str, agent: UUID | None
) -> None:
    async with session.database(settings, url) as db:
        found = await session.find_team(db, team)
        await numbers.put_numbers(db, team=found, texts=texts, agent_id=agent)


@number.command("list")
def list_(
    *, team: options.TeamSlug, as_json: options.Json = False, data_dir: options.DataDir = None
) -> None:
    """List the numbers of a team."""
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        listed = asyncio.run(_list(settings, url, team=team))
    if as_json:
        tables.print_json([{"number": one.number, "agent": one.agent_id} for one in listed])
        return
    rows = [(one.number, one.agent_id or "all", one.created_at) for one in listed]
    tables.print_table(("number", "agent", "added"), rows)


async def _list(settings: Config, url: str, *, team: str) -> Sequence[NumberRow]:
    async with session.database(settings, url) as db:
        return await numbers.list_numbers(db, team=await session.find_team(db, team))


@number.command()
def remove(
    number: Annotated[str, typer.Argument(help="The number.", show_default=False)],
    *,
    team: options.TeamSlug,
    data_dir: options.DataDir = None,
) -> None:
    """Take a number away; batches that were given it keep it."""
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        asyncio.run(_remove(settings, url, text=number, team=team))
    typer.echo(f"Team {team} calls from {number} no more.")


async def _remove(settings: Config, url: str, *, text: str, team: str) -> None:
    async with session.database(settings, url) as db:
        await numbers.remove_number(db, team=await session.find_team(db, team), number=text)
