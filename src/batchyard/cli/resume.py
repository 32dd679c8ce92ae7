"""`batchyard resume`: paused batches go on."""

import asyncio
from typing import Annotated
from uuid import UUID

import typer

from batchyard.cli import options, session
from batchyard.config import Config
from batchyard.errors import InvalidRequest
from batchyard.operations.restore import resume_batches


def resume(
    batches: Annotated[
        list[UUID] | None, typer.Argument(help="Ids of batches.", metavar="[BATCH]...")
    ] = None,
    *,
    team: options.TeamSlug,
    is_all_restored: Annotated[
        bool, typer.Option("--all-restored", help="All that `batchyard restored` paused.")
    ] = False,
    data_dir: options.DataDir = None,
) -> None:
    """Let paused batches go on; all that are named, or none when one of them cannot."""
    if is_all_restored == bool(batches):
        raise InvalidRequest("Name batches, or say --all-restored.")
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        resumed = asyncio.run(_resume(settings, url, team=team, batches=batches or None))
    for batch_id in resumed:
        typer.echo(batch_id)
    typer.echo(f"Batches that go on: {len(resumed)}.", err=True)


async def _resume(
    settings: Config, url: str, *, team: str, batches: list[UUID] | None
) -> list[UUID]:
    async with session.database(settings, url) as db:
        found = await session.find_team(db, team)
        return await resume_batches(db, team=found, batch_ids=batches)
