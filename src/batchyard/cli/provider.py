"""`batchyard provider`: who does the items."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from batchyard.cli import options, session, tables, values
from batchyard.cli.kind_options import option_of
from batchyard.cli.provider_add import add
from batchyard.cli.provider_change import change
from batchyard.cli.provider_options import Name
from batchyard.config import Config
from batchyard.errors import BatchyardError, NotFound
from batchyard.models import Rate
from batchyard.operations import administration, providers
from batchyard.operations.machine_checks import remark_callbacks
from batchyard.operations.providers import KindOfProvider, ListedProvider

EXIT_FAULT = 1

provider = typer.Typer(
    no_args_is_help=True, help="Connect providers, who do the items in the outside world."
)


provider.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(add)
provider.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(change)


@provider.command()
def kinds(
    kind: Annotated[
        str | None, typer.Argument(help="Only this one, with all it can be told.", metavar="[KIND]")
    ] = None,
    *,
    as_json: options.Json = False,
) -> None:
    """List the kinds of provider that are installed, or everything one kind can be told."""
    shown = providers.list_kinds() if kind is None else [providers.read_kind(kind)]
    if as_json:
        tables.print_json([asdict(one) for one in shown])
    elif kind is None:
        rows = [(one.name, ", ".join(one.does), one.summary) for one in shown]
        tables.print_table(("kind", "does", "what it is"), rows)
    else:
        _print_kind(shown[0])


def _print_kind(kind: KindOfProvider) -> None:
    typer.echo(f"{kind.name}: {kind.summary}")
    headings = ("option", "default", "meaning")
    tables.print_table(
        headings,
        [
            (option_of(one.name), "needed" if one.is_required else one.default, one.meaning)
            for one in kind.settings
        ],
    )
    if kind.secrets:
        typer.echo("Secrets, by --secret-file NAME=FILE:")
        tables.print_table(
            ("name", "", "meaning"),
            [(one.name, "needed" if one.is_required else "", one.meaning) for one in kind.secrets],
        )


@provider.command("list")
def list_(*, as_json: options.Json = False, data_dir: options.DataDir = None) -> None:
    """List the providers, what they promise and what they may be given."""
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as address:
        listed = asyncio.run(_list(session.complete(settings), address))
    if as_json:
        tables.print_json([_as_json(one) for one in listed])
        return
    headings = ("name", "kind", "policy", "url", "private", "secret", "at once", "rate", "paused")
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
        row.paused_reason,
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
        "paused": row.paused_reason,
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
        await administration.remove_provider(db, actor=session.find_actor(), name=name)


@provider.command()
def pause(
    name: Name,
    *,
    reason: Annotated[str, typer.Option(help="What others read.", metavar="TEXT")] = "a person",
    data_dir: options.DataDir = None,
) -> None:
    """Let nothing more be sent to a provider, by any team; what it has goes on."""
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as address:
        asyncio.run(_pause(settings, address, name=name, reason=reason))
    typer.echo(f"The provider {name} is paused. Next: batchyard provider resume {name}")


async def _pause(settings: Config, address: str, *, name: str, reason: str) -> None:
    async with session.database(settings, address) as db:
        await administration.pause_provider(
            db, actor=session.find_actor(), name=name, reason=reason
        )


@provider.command()
def resume(name: Name, *, data_dir: options.DataDir = None) -> None:
    """Let a provider go on that was paused by a person, by the brake, or by its own refusal."""
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as address:
        reason = asyncio.run(_resume(settings, address, name=name))
    was = "was not paused" if reason is None else f"goes on; it was paused: {reason}"
    typer.echo(f"The provider {name} {was}")


async def _resume(settings: Config, address: str, *, name: str) -> str | None:
    async with session.database(settings, address) as db:
        return await administration.resume_provider(db, actor=session.find_actor(), name=name)


@provider.command("test")
def try_(name: Name, *, as_json: options.Json = False, data_dir: options.DataDir = None) -> None:
    """Try whether a provider can be reached, without any effect; exit code 1 when not."""
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as address:
        fault, remarks = asyncio.run(_try(session.complete(settings), address, name=name))
    if as_json:
        told = {"name": name, "is_ok": fault is None, "fault": fault, "remarks": [*remarks]}
        tables.print_json(told)
    elif fault is not None:
        typer.echo(f"{name}: {fault}", err=True)
    else:
        typer.echo(f"{name} can be used.")
        for remark in remarks:
            typer.echo(f"Note: {remark}", err=True)
    if fault is not None:
        raise typer.Exit(EXIT_FAULT)


async def _try(settings: Config, address: str, *, name: str) -> tuple[str | None, Sequence[str]]:
    async with session.database(settings, address) as db:
        try:
            vault = session.open_vault(settings)
            remarks = await providers.check_provider(db, vault, name=name)
            return None, [*remarks, *await remark_callbacks(settings, db, name=name)]
        except NotFound:
            raise
        except BatchyardError as error:
            return error.message, ()
