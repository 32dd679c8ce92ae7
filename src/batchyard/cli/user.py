"""`batchyard user`: people who sign in to the dashboard."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, TypeVar

import typer

from batchyard.cli import options, session
from batchyard.cli.tables import print_json, print_table
from batchyard.errors import NotFound
from batchyard.models import Team
from batchyard.operations import accounts, users
from batchyard.operations.access import ADMIN_SCOPE
from batchyard.store.db import Database
from batchyard.store.users import User

user = typer.Typer(no_args_is_help=True, help="Let people in, list and remove them.")

Email = Annotated[str, typer.Argument(help="Their e-mail address.", show_default=False)]
T = TypeVar("T")


@user.command()
def add(
    email: Email,
    *,
    team: options.TeamSlug,
    name: Annotated[str, typer.Option(help="What people call them.", metavar="TEXT")] = "",
    scope: Annotated[
        list[str] | None, typer.Option(help="What they may do; may be repeated.", metavar="SCOPE")
    ] = None,
    without_password: Annotated[
        bool, typer.Option("--without-password", help="A trusted proxy signs them in.")
    ] = False,
    data_dir: options.DataDir = None,
) -> None:
    """Let a person in; the password is asked for, or read from the standard input."""
    password = None
    if not without_password:
        password = typer.prompt("Password", hide_input=True, err=True)

    async def do(db: Database, found: Team) -> None:
        await accounts.create_user(
            db,
            team=found,
            actor=session.find_actor(),
            email=email,
            name=name or email.partition("@")[0],
            password=password,
            scopes=scope or [ADMIN_SCOPE],
        )

    _run(data_dir, team, do)
    typer.echo(email)


@user.command("list")
def list_users(
    *, team: options.TeamSlug, as_json: options.Json = False, data_dir: options.DataDir = None
) -> None:
    """List the people of a team."""

    async def do(db: Database, found: Team) -> list[User]:
        return await users.list_users(db, team=found)

    rows = _run(data_dir, team, do)
    if as_json:
        hidden = {"password_hash", "team_id"}
        print_json([{k: v for k, v in asdict(row).items() if k not in hidden} for row in rows])
        return
    print_table(
        ["E-MAIL", "NAME", "SCOPES", "SINCE"],
        [(row.email, row.name, " ".join(row.scopes), row.created_at) for row in rows],
    )


@user.command()
def remove(email: Email, *, team: options.TeamSlug, data_dir: options.DataDir = None) -> None:
    """Remove a person, and what is known of them."""

    async def do(db: Database, found: Team) -> None:
        known = await users.find_user(db, email=email)
        if known is None or known.team_id != found.id:
            raise NotFound(f"The team has no user {email}.")
        actor = session.find_actor()
        await accounts.remove_user(db, team=found, actor=actor, user_id=known.id)

    _run(data_dir, team, do)


def _run(data_dir: options.DataDir, team: str, do: Callable[[Database, Team], Awaitable[T]]) -> T:
    settings = session.configure(data_dir=data_dir)

    async def run(url: str) -> T:
        async with session.database(settings, url) as db:
            return await do(db, await session.find_team(db, team))

    with session.postgres(settings) as url:
        return asyncio.run(run(url))
