"""`batchyard demo`: two real files in, every row accounted for."""

import asyncio
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from batchyard.cli import demo_report, options, services, session, web
from batchyard.cli.demo_lists import AGENT_ID, Calls, ExampleList, Shipments, examples_folder
from batchyard.config import Config
from batchyard.errors import BatchyardError, ConfigError, Conflict
from batchyard.models import Team
from batchyard.operations.access import TOKEN_PREFIX, ensure_token
from batchyard.operations.providers import list_outward_routes
from batchyard.operations.teams import ensure_team
from batchyard.store.db import Database
from batchyard.store.migrate import migrate

HOST = "127.0.0.1"
TOKEN_FILE = "demo-token"  # noqa: S105  # a name, no secret
REQUEST_SECONDS = 30

SANDBOX_SPEED = 50
"""Unless the environment says otherwise."""

SETTINGS: dict[str, object] = {
    "host": HOST,
    "bolna_schedule_step_minutes": 0,
    "bolna_schedule_lead_seconds": 0,
    # On a busy machine the sandbox's hurried answers come late; that is no reason to pause.
    "brake_share": 1,
    # Log lines would run through the progress bars.
    "log_level": "warning",
}


def demo(
    *,
    exits: Annotated[
        bool, typer.Option("--exit", help="End when both lists have ended, serve no longer.")
    ] = False,
    port: options.Port = None,
    data_dir: options.DataDir = None,
) -> None:
    """Load two example lists through the doors and show what becomes of every row.

    Starts everything in one process: PostgreSQL, the server, a worker with the sandbox at fifty
    times its speed. Data and token are kept; each start loads both lists anew. Where a route leads
    the team's items to a real provider, nothing is loaded.
    """
    settings = services.at_a_terminal(session.configure(**SETTINGS, port=port, data_dir=data_dir))
    if "sandbox_speed" not in settings.model_fields_set:
        settings = settings.model_copy(update={"sandbox_speed": SANDBOX_SPEED})
    console = demo_report.make_console()
    with web.listening(settings) as (settings, serve):
        if settings.database_url is None:
            console.print(f"Starting PostgreSQL in {settings.data_dir}", soft_wrap=True)
        else:
            migrate(settings.database_url)

        async def show(settings: Config, db: Database, stop: asyncio.Event) -> None:
            await _show(settings, db, stop, console=console, exits=exits)

        services.run(settings, [serve, services.work, show])


async def _show(
    settings: Config, db: Database, stop: asyncio.Event, *, console: Console, exits: bool
) -> None:
    """Show the demo; leave off at once when stopped."""
    shown = asyncio.create_task(_run_lists(settings, db, console=console))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({shown, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not shown.done():
        shown.cancel()
        with suppress(asyncio.CancelledError):
            await shown
        return
    try:
        await shown  # raises what went wrong
        if not exits:
            console.print("\nServing until Ctrl-C.")
            await stopped
    finally:
        stopped.cancel()


async def _run_lists(settings: Config, db: Database, *, console: Console) -> None:
    """Do what a client would do.

    1. Load both files, unless they would be done in earnest.
    2. Follow them until both batches have ended.
    3. Tell what each list answers, the numbers, the refused rows, how to ask by hand.
    """
    address = f"http://{HOST}:{settings.port}"
    team = await ensure_team(
        db, slug=session.DEFAULT_TEAM, name="Default", actor=session.find_actor()
    )
    token = await _lend_token(settings, db, team=team)
    console.print(f"Serving on {address}")
    async with httpx.AsyncClient(
        base_url=address,
        headers={"Authorization": f"Bearer {token}"},
        timeout=REQUEST_SECONDS,
        trust_env=False,  # a proxy has no business between us and ourselves
    ) as client:
        files = examples_folder()
        lists: list[ExampleList] = [
            Calls(client, file=files / "calls.csv"),
            Shipments(client, file=files / "shipments.json"),
        ]
        for each in lists:
            await check_routes(db, team=team)
            await each.load()
        await demo_report.follow(console, lists)
        await _tell(console, lists)
    demo_report.print_commands(console, address=address, token=token, lists=lists)


async def _tell(console: Console, lists: list[ExampleList]) -> None:
    for each in lists:
        path = each.list_path + each.newest
        demo_report.print_list(console, path=path, answer=await each.listed())
    ledgers = [(each.title, await each.ledger()) for each in lists]
    demo_report.print_ledgers(console, ledgers)
    for title, ledger in ledgers:
        if ledger.refused:
            demo_report.print_refused(console, title=title, ledger=ledger)
    for title, ledger in ledgers:
        if not ledger.is_balanced:
            raise BatchyardError(f"{title}: the numbers do not add up. This is a defect.")


async def check_routes(db: Database, *, team: Team) -> None:
    """Raise `ConfigError` where a route would let the example lists be done in earnest.

    The demo shares its database with whatever else runs on this data folder or database.
    """
    for route in await list_outward_routes(db, team=team):
        if route.agent_id is None or str(route.agent_id) == AGENT_ID:
            raise ConfigError(
                f"The demo loads nothing here: a route leads each {route.kind} of team "
                f"{team.slug} to '{route.provider}', which would do the example lists in earnest. "
                "Give the demo a folder of its own with --data-dir, and no BATCHYARD_DATABASE_URL."
            )


async def _lend_token(settings: Config, db: Database, *, team: Team) -> str:
    """Return the demo's token, the same at each start, and make sure that it is known."""
    file = settings.data_dir / TOKEN_FILE
    token = _keep_token(file)
    try:
        await ensure_token(db, team=team, token=token, name="demo", actor=session.find_actor())
    except Conflict as error:
        raise ConfigError(
            f"{error.message} It is kept in {file}: remove that file, and the demo makes a new one."
        ) from error
    return token


def _keep_token(path: Path) -> str:
    """Return the token in the file, made on first use for the eyes of its owner only."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Complete or not there, whatever happens; `mkstemp` gives it mode 600.
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(f"{TOKEN_PREFIX}{secrets.token_urlsafe(32)}\n")
            Path(name).replace(path)
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The demo's token cannot be kept in {path}: {error}. Choose another folder with "
            "--data-dir."
        ) from error
