"""`batchyard doctor`: what is wrong with an installation, and the cure."""

import asyncio
from dataclasses import asdict

import typer

from batchyard.cli import exit_codes, options, session, tables
from batchyard.config import Config
from batchyard.errors import BatchyardError
from batchyard.operations.checks import Check, check_database
from batchyard.operations.machine_checks import (
    check_documents,
    check_folder,
    check_port,
    check_public_address,
)
from batchyard.store.db import Database


def doctor(
    *,
    host: options.Host = None,
    port: options.Port = None,
    as_json: options.Json = False,
    data_dir: options.DataDir = None,
) -> None:
    """Look at all that must be right; each line is ok, or a cure.

    Exit code 0 when all is well, 1 when something needs a cure. Run it with the settings of the
    server. No provider is sent anything.
    """
    settings = session.configure(host=host, port=port, data_dir=data_dir)
    checks = _examine(settings)
    if as_json:
        tables.print_json([asdict(check) for check in checks])
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            mark = "ok " if check.is_ok else "FIX"
            typer.echo(f"{mark}  {check.name:<{width}}  {check.text.rstrip('.')}.")
    if not all(check.is_ok for check in checks):
        raise typer.Exit(exit_codes.NOT_SO)


def _examine(settings: Config) -> list[Check]:
    try:
        with session.postgres(settings) as url:
            return asyncio.run(_ask_all(session.complete(settings), url))
    except BatchyardError as error:
        return [_lost(error), check_folder(settings), asyncio.run(check_port(settings))]


async def _ask_all(settings: Config, url: str) -> list[Check]:
    db = Database(url)
    await db.open()
    try:
        checks = await check_database(settings, db, session.open_vault(settings))
        if all(check.name != "schema" or check.is_ok for check in checks):
            checks.append(await check_public_address(settings, db))
    finally:
        await db.close()
    return [
        *checks,
        check_folder(settings),
        check_documents(settings),
        await check_port(settings),
    ]


def _lost(error: BatchyardError) -> Check:
    return Check(name="PostgreSQL", is_ok=False, text=error.message)
