"""`batchyard restored`: a database that came from a backup is taken into use."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from batchyard.cli import options, session
from batchyard.config import Config
from batchyard.errors import Conflict, StoreError
from batchyard.operations.restore import (
    Outlook,
    Restored,
    is_worker_alive,
    judge_providers,
    mark_restored,
)

SANDBOX = "sandbox"


def restored(
    *,
    silent: Annotated[
        list[str] | None,
        typer.Option(
            help="Send this provider no key again; its items become unknown. May be repeated.",
            metavar="NAME",
        ),
    ] = None,
    is_forced: Annotated[
        bool, typer.Option("--force", help="Go on although a worker seems to run.")
    ] = False,
    data_dir: options.DataDir = None,
) -> None:
    """Take a database into use that was restored from a backup.

    What was sent after the backup is not in it. Batches come up paused; where a provider can be
    asked, each key is asked about before it is sent; where not, items become unknown outcomes and
    wait for a person. Run it before any worker.
    """
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        done, outlooks = asyncio.run(
            _restore(session.complete(settings), url, named=silent or (), is_forced=is_forced)
        )
    _tell(done, outlooks)


async def _restore(
    settings: Config, url: str, *, named: Sequence[str], is_forced: bool
) -> tuple[Restored, Sequence[Outlook]]:
    async with session.database(settings, url) as db:
        if not is_forced and await is_worker_alive(db):
            raise Conflict(
                "A worker runs on this database. Stop every worker first, then say "
                "`batchyard restored` again (--force goes on all the same)."
            )
        outlooks = await judge_providers(db, session.open_vault(settings), held_silent=named)
        sandbox = next((one for one in outlooks if one.name == SANDBOX), None)
        if sandbox is None:
            raise StoreError("The database has lost its provider 'sandbox'.")
        done = await mark_restored(
            db,
            silent_providers=[one.provider_id for one in outlooks if one.is_silent],
            default_provider=sandbox.provider_id,
            actor=session.find_actor(),
        )
        return done, outlooks


def _tell(done: Restored, outlooks: Sequence[Outlook]) -> None:
    when = (
        "some time ago" if done.backup_at is None else f"about {done.backup_at:%Y-%m-%d %H:%M:%S}"
    )
    typer.echo(f"The backup was made {when} (UTC); what was sent since is not in it.")
    typer.echo(f"Batches that had not ended: {done.batches}, paused now: {done.paused}.")
    typer.echo(f"Items that became unknown: {done.unknown}.")
    for one in outlooks:
        typer.echo(f"  {one.name}: {one.reason}.")
    typer.echo("\nNext:", err=True)
    if done.unknown:
        typer.echo("  batchyard serve                 a server without a worker", err=True)
        typer.echo("  batchyard unknown               what waits for you", err=True)
        typer.echo("  batchyard resolve --as ...      decide it", err=True)
    typer.echo("  batchyard worker                or up: start working again", err=True)
    typer.echo("  batchyard resume --all-restored let the batches go on", err=True)
    for one in outlooks:
        if one.repeat_until is not None:
            typer.echo(
                f"{one.name} honours a repeated key until {one.repeat_until:%Y-%m-%d %H:%M} UTC. "
                "If the batches cannot end by then, before any worker starts: batchyard restored "
                f"--silent {one.name}",
                err=True,
            )
