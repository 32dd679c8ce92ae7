"""`batchyard provider`: who does the items."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from batchyard.cli import options, session, tables, values
from batchyard.cli.provider_add import add
from batchyard.config import Config
from batchyard.errors import BatchyardError, NotFound
from batchyard.operations import providers
from batchyard.operations.providers import ListedProvider, Rate

EXIT_FAULT = 1

Name = Annotated[str, typer.Argument(help="Its name here.", show_default=False)]

provider = typer.Typer(
    no_args_is_help=True, help="Connect providers, who do the items in the outside world."
)


provider.command()(add)


@provider.command("list")
def list_(*, as_json: options.Json = False, data_dir: options.DataDir = None) -> None:
    """List the providers, what they promise and what they may be given."""
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as address:
        listed = asyncio.run(_list(session.complete(settings), address))
    if as_json:
        tables.print_json([_as_json(one) for one in listed])
        return
    headings = ("name", "kind", "policy", "url", "private", "secret", "at once", "rate")
    tables.print_table(headings, [_cells(one) for one in listed])
    for one in listed:
        if one.fault is not None:
            typer.echo(f"{one.row.name} cannot be used: {one.fault}", err=True)


async def _list(settings: Config, address: str) -> list[ListedProvider]:
    async with session.database(settings, address) as db:
        return await providers.list_providers(db, session.open_vault(settings))


def _cells(one: ListedProvider) -> tuple[object, ...]:
    row, ceiling = one.row, one.ceiling
    return (
        row.name,
        row.kind,
        "?" if one.promise is None else one.promise.policy,
        row.settings.get("url"),
        "allowed" if row.allow_private else "no",
        "yes" if row.secret is not None else "no",
        ceiling.concurrency,
        ", ".join(values.show_rate(count=n, seconds=s) for s, n in ceiling.rates.items()),
    )


def _as_json(one: ListedProvider) -> Mapping[str, object]:
    row, promise = one.row, one.promise
    return {
        "name": row.name,
        "kind": row.kind,
        "policy": None if promise is None else promise.policy,
        "is_askable": None if promise is None else promise.is_askable,
        "fault": one.fault,
        "settings": row.settings,
        "has_secret": row.secret is not None,
        "allow_private": row.allow_private,
        "concurrency": one.ceiling.concurrency,
        "rates": [asdict(Rate(count=n, seconds=s)) for s, n in one.ceiling.rates.items()],
    }


@provider.command()
def remove(name: Name, *, data_dir: options.DataDir = None) -> None:
    """Take a provider away that no route leads to."""
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as address:
        asyncio.run(_remove(settings, address, name=name))
    typer.echo(f"The provider {name} is removed.")


async def _remove(settings: Config, address: str, *, name: str) -> None:
    async with session.database(settings, address) as db:
        await providers.remove_provider(db, name=name)


@provider.command("test")
def try_(name: Name, *, data_dir: options.DataDir = None) -> None:
    """Try whether a provider can be reached, without any effect; exit code 1 when not."""
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as address:
        fault, remarks = asyncio.run(_try(session.complete(settings), address, name=name))
    if fault is not None:
        typer.echo(f"{name}: {fault}", err=True)
        raise typer.Exit(EXIT_FAULT)
    typer.echo(f"{name} can be used.")
    for remark in remarks:
        typer.echo(f"Note: {remark}", err=True)


async def _try(settings: Config, address: str, *, name: str) -> tuple[str | None, Sequence[str]]:
    async with session.database(settings, address) as db:
        try:
            vault = session.open_vault(settings)
            return None, await providers.check_provider(db, vault, name=name)
        except NotFound:
            raise
        except BatchyardError as error:
            return error.message, ()
