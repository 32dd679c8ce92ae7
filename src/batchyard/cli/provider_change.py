"""`batchyard provider change`: what was said of a provider, said anew."""

import asyncio
from collections.abc import Mapping
from typing import Annotated

import typer

from batchyard.cli import options, session
from batchyard.cli import provider_options as said
from batchyard.cli.provider_secrets import Secrets, read_new_secret
from batchyard.config import Config
from batchyard.models import Rate
from batchyard.operations.administration import change_provider
from batchyard.operations.provider_changes import Changed, find_kind_of
from batchyard.providers.registry import find_kind


def change(
    context: typer.Context,
    name: said.Name,
    *,
    url: said.Url = None,
    secret_file: said.SecretFile = None,
    policy: said.PolicyWord = None,
    concurrency: said.Concurrency = None,
    rates: said.Rates = None,
    timeout: said.Timeout = None,
    result_url: said.ResultUrl = None,
    not_done: said.NotDone = None,
    key_ttl: said.KeyTtl = None,
    ask_settles_after: said.AskSettlesAfter = None,
    further: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A further setting of its kind, null for what it is unless said; may be repeated.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    allow_private: Annotated[
        bool | None,
        typer.Option(
            help="Let it be on a private or loopback address.",
            show_default=False,
        ),
    ] = None,
    data_dir: options.DataDir = None,
) -> None:
    """Change what was said of a provider: a new secret, other settings; the rest stays.

    Every setting of its kind is an option too, as for `batchyard provider add`. Running processes
    follow within a second. Settings by which items are found there can change only while nothing
    is under way.
    """
    rate = said.only_rate(rates)
    settings = session.configure(data_dir=data_dir)
    named = said.name_settings(
        url=url,
        policy=policy,
        timeout=timeout,
        result_url=result_url,
        not_done=not_done,
        key_ttl=key_ttl,
        ask_settles_after=ask_settles_after,
    )
    with session.postgres(settings) as address:
        complete = session.complete(settings)
        kind = asyncio.run(_find_kind(complete, address, name=name))
        found = find_kind(kind)
        named |= said.read_further(kind, found, context.args, further)
        changed = asyncio.run(
            _change(
                complete,
                address,
                name=name,
                named=named,
                secrets=read_new_secret(found.secrets_model, secret_file or ()),
                allow_private=allow_private,
                concurrency=concurrency,
                rate=rate,
            )
        )
    typer.echo(f"The provider {name} is changed.")
    for remark in changed.remarks:
        typer.echo(f"Note: {remark}", err=True)
    if changed.paused_reason is None:
        typer.echo(f"Next: batchyard provider test {name}", err=True)
    else:
        typer.echo(f"It is paused: {changed.paused_reason}", err=True)
        typer.echo(f"Next: batchyard provider resume {name}", err=True)


async def _find_kind(settings: Config, address: str, *, name: str) -> str:
    async with session.database(settings, address) as db:
        return await find_kind_of(db, name=name)


async def _change(
    settings: Config,
    address: str,
    *,
    name: str,
    named: Mapping[str, object],
    secrets: Secrets | None,
    allow_private: bool | None,
    concurrency: int | None,
    rate: Rate | None,
) -> Changed:
    async with session.database(settings, address) as db:
        return await change_provider(
            db,
            session.open_vault(settings),
            actor=session.find_actor(),
            name=name,
            settings=named,
            secrets=secrets,
            allow_private=allow_private,
            concurrency=concurrency,
            rate=rate,
        )
