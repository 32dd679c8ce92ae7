"""`batchyard limit`: how much may be in flight, and how fast it may start."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from batchyard.cli import options, session, tables, values
from batchyard.config import Config
from batchyard.operations import administration, limits
from batchyard.operations.limits import SetLimit
from batchyard.store.limits import Ceiling

limit = typer.Typer(
    no_args_is_help=True, help="Limit what is in flight and how fast items start; strictest wins."
)

Scope = Annotated[
    str,
    typer.Argument(help=f"What is limited: {limits.SCOPES}.", show_default=False),
]


@limit.command("set")
def set_(
    scope: Scope,
    *,
    concurrency: Annotated[
        int | None, typer.Option(help="Items in flight at once; left out: the default.")
    ] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(help="So many per time: 5/s, 100/min, 1000/h, 10000/day. May be repeated."),
    ] = None,
    burst: Annotated[
        int | None, typer.Option(help="Items of a rate that may start at one moment.")
    ] = None,
    weight: Annotated[
        int | None, typer.Option(help="A team's share of the workers beside other teams.")
    ] = None,
    data_dir: options.DataDir = None,
) -> None:
    """Set the limits of a team, provider, agent or batch, also while it runs.

    They replace what was set before and hold from the next admission on; nothing that is live is
    cancelled. Without options a scope falls back to its defaults.
    """
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        done = asyncio.run(
            _set(
                settings,
                url,
                scope=scope,
                concurrency=concurrency,
                rates=rate or [],
                burst=burst,
                weight=weight,
            )
        )
    typer.echo(f"The limits of {scope} are set.")
    for remark in done.remarks:
        typer.echo(f"Note: {remark}", err=True)


async def _set(
    settings: Config,
    url: str,
    *,
    scope: str,
    concurrency: int | None,
    rates: Sequence[str],
    burst: int | None,
    weight: int | None,
) -> SetLimit:
    async with session.database(settings, url) as db:
        return await administration.set_limit(
            db,
            actor=session.find_actor(),
            scope=scope,
            concurrency=concurrency,
            rates=[values.read_rate(text) for text in rates],
            burst=burst,
            weight=weight,
        )


@limit.command("list")
def list_(*, as_json: options.Json = False, data_dir: options.DataDir = None) -> None:
    """List the limits that were set."""
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        listed = asyncio.run(_list(settings, url))
    if as_json:
        tables.print_json([_as_json(key, ceiling) for key, ceiling in listed.items()])
        return
    rows = [(key, one.concurrency, _rates(one)) for key, one in listed.items()]
    tables.print_table(("limit of", "at once", "rate"), rows)


async def _list(settings: Config, url: str) -> dict[str, Ceiling]:
    async with session.database(settings, url) as db:
        return await limits.list_limits(db)


def _rates(ceiling: Ceiling) -> str:
    return ", ".join(values.show_rate(count=n, seconds=s) for s, n in ceiling.rates.items())


def _as_json(key: str, ceiling: Ceiling) -> dict[str, object]:
    return {
        "key": key,
        "concurrency": ceiling.concurrency,
        "rates": [{"count": n, "seconds": s} for s, n in ceiling.rates.items()],
    }
