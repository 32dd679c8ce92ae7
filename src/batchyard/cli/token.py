"""`batchyard token`: what clients identify themselves with."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, TypeVar

import typer

from batchyard.cli import options, session, tables, values
from batchyard.errors import InvalidRequest
from batchyard.models import Team
from batchyard.operations import access, accounts
from batchyard.operations.access import ADMIN_SCOPE, SCOPES
from batchyard.schedule import CALENDAR
from batchyard.store.db import Database
from batchyard.store.tokens import TokenRow

token = typer.Typer(no_args_is_help=True, help="Make tokens, with which clients speak for a team.")

T = TypeVar("T")


@token.command()
def create(
    *,
    team: options.TeamSlug,
    name: Annotated[str, typer.Option(help="What the token is for.", metavar="TEXT")] = "",
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help=f"What it may do; may be repeated: {', '.join(SCOPES)}. "
            f"[dim]\\[default: {ADMIN_SCOPE}][/dim]",
            metavar="SCOPE",
            show_default=False,
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            help="Until when it works: a time such as 2030-01-29T08:30:00Z, or 12h, 90d from now.",
            metavar="TIME",
        ),
    ] = None,
    bolna_version: Annotated[
        str | None,
        typer.Option(
            help="Answer this client as Bolna did then: 2024-01 or 2026-08.", metavar="VERSION"
        ),
    ] = None,
    data_dir: options.DataDir = None,
) -> None:
    """Make a token and print it, once: only its hash is kept."""
    scopes = tuple(scope or (ADMIN_SCOPE,))

    async def do(db: Database, found: Team) -> str:
        expires_at = None if expires is None else _read_end(expires, now=db.clock())
        return await accounts.create_token(
            db,
            team=found,
            actor=session.find_actor(),
            name=name,
            bolna_version=bolna_version,
            scopes=scopes,
            expires_at=expires_at,
        )

    typer.echo(_run(data_dir, team, do))
    typer.echo("Keep it: it cannot be shown again.", err=True)


@token.command("list")
def list_(
    *, team: options.TeamSlug, as_json: options.Json = False, data_dir: options.DataDir = None
) -> None:
    """List the tokens of a team, the newest first, revoked ones too."""

    async def do(db: Database, found: Team) -> tuple[Sequence[TokenRow], datetime]:
        return await access.list_tokens(db, team=found), db.clock()

    rows, now = _run(data_dir, team, do)
    if as_json:
        tables.print_json([asdict(row) for row in rows])
        return
    headings = ("id", "name", "may", "made", "last used", "state")
    tables.print_table(headings, [_cells(row, now=now) for row in rows])


def _cells(row: TokenRow, *, now: datetime) -> tuple[object, ...]:
    return (
        row.id,
        row.name,
        " ".join(row.scopes),
        tables.show_minute(row.created_at),
        tables.show_minute(row.last_used_at) or "never",
        _state(row, now=now),
    )


def _state(row: TokenRow, *, now: datetime) -> str:
    if row.revoked_at is not None:
        return f"revoked {tables.show_minute(row.revoked_at)}"
    if row.expires_at is None:
        return "in use"
    word = "expired" if row.expires_at <= now else "in use until"
    return f"{word} {tables.show_minute(row.expires_at)}"


@token.command()
def revoke(
    number: Annotated[
        int,
        typer.Argument(
            min=1,
            max=2**63 - 1,
            help="As `batchyard token list` shows it.",
            metavar="ID",
            show_default=False,
        ),
    ],
    *,
    team: options.TeamSlug,
    data_dir: options.DataDir = None,
) -> None:
    """Revoke a token; it stops working with its next request."""

    async def do(db: Database, found: Team) -> None:
        await accounts.revoke_token(db, team=found, actor=session.find_actor(), token_id=number)

    _run(data_dir, team, do)
    typer.echo(f"The token {number} is revoked.")


def _read_end(text: str, *, now: datetime) -> datetime:
    """Read a time or how long it is until then; raise `InvalidRequest`."""
    if values.DURATION.fullmatch(text):
        seconds = values.read_duration(text)
        if seconds >= (CALENDAR[1] - now).total_seconds():
            raise InvalidRequest(
                f"{text} from now is too far away; without --expires it never ends."
            )
        return now + timedelta(seconds=seconds)
    end = values.read_time(text)
    if end <= now:
        raise InvalidRequest(f"{text} has passed; the token would never work.")
    return end


def _run(data_dir: options.DataDir, team: str, do: Callable[[Database, Team], Awaitable[T]]) -> T:
    settings = session.configure(data_dir=data_dir)

    async def run(url: str) -> T:
        async with session.database(settings, url) as db:
            return await do(db, await session.find_team(db, team))

    with session.postgres(settings) as url:
        return asyncio.run(run(url))
