"""`batchyard resolve`: a person decides what became of items nobody could find out about."""

import asyncio
import os
import pwd
import sys
from typing import Annotated
from uuid import UUID

import typer

from batchyard.cli import options, session, values
from batchyard.config import Config
from batchyard.errors import InvalidRequest
from batchyard.operations.outcomes import Verdict, count_unknown, resolve_unknown

EXIT_DECLINED = 1

EFFECTS = {
    Verdict.DONE: "will count as done",
    Verdict.FAILED: "will count as failed",
    Verdict.RETRY: "will be sent again under new keys",
}


def resolve(
    *,
    team: options.TeamSlug,
    verdict: Annotated[
        Verdict,
        typer.Option(
            "--as",
            parser=values.word_of(Verdict, what="verdict"),
            help="What became of them; retry sends them again, as something new.",
            metavar="|".join(Verdict),
        ),
    ],
    batch: Annotated[UUID | None, typer.Option(help="Those of this batch.", metavar="ID")] = None,
    item: Annotated[
        list[UUID] | None, typer.Option(help="This one; may be repeated.", metavar="ID")
    ] = None,
    is_all: Annotated[bool, typer.Option("--all", help="All of the team.")] = False,
    is_sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: options.DataDir = None,
) -> None:
    """Decide unknown outcomes; `batchyard unknown` lists them.

    Counts and lists follow at once. The history of each item keeps who decided.
    """
    if batch is None and not item and not is_all:
        raise InvalidRequest("Say which: --batch ID, --item ID, or --all of the team.")
    if is_all and (batch is not None or item):
        raise InvalidRequest("Say either --all, or which: --batch ID, --item ID.")
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        decided = asyncio.run(
            _resolve(
                settings,
                url,
                team=team,
                verdict=verdict,
                batch=batch,
                items=item or None,
                is_sure=is_sure,
            )
        )
    if decided is None:
        typer.echo("Nothing was changed.")
        raise typer.Exit(EXIT_DECLINED)
    typer.echo(f"Decided as {verdict}: {_items(decided)}.")
    left = len(set(item or ())) - decided
    if item and left > 0:
        typer.echo(f"{left} of those named have no unknown outcome here.", err=True)


async def _resolve(
    settings: Config,
    url: str,
    *,
    team: str,
    verdict: Verdict,
    batch: UUID | None,
    items: list[UUID] | None,
    is_sure: bool,
) -> int | None:
    """Return how many were decided, or None when the person declined."""
    async with session.database(settings, url) as db:
        found = await session.find_team(db, team)
        n = await count_unknown(db, team=found, batch_id=batch, item_ids=items)
        if n and not is_sure and not _ask(f"{_items(n)} of {team} {EFFECTS[verdict]}."):
            return None
        return await resolve_unknown(
            db, team=found, verdict=verdict, actor=_actor(), batch_id=batch, item_ids=items
        )


def _ask(sentence: str) -> bool:
    if not sys.stdin.isatty():
        raise InvalidRequest(f"{sentence} Add --yes to do that without being asked.")
    return typer.confirm(f"{sentence} Go on?")


def _items(n: int) -> str:
    return "1 item" if n == 1 else f"{n} items"


def _actor() -> str:
    """Name who decides: the user of the machine."""
    uid = os.getuid()
    try:
        return f"cli:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"cli:{uid}"
