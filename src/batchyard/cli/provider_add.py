"""`batchyard provider add`: everything that can be said about a provider."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from batchyard.cli import options, session
from batchyard.cli import provider_options as said
from batchyard.cli.provider_secrets import read_secret
from batchyard.config import Config
from batchyard.models import Rate
from batchyard.operations.administration import add_provider
from batchyard.operations.machine_checks import remark_callbacks
from batchyard.providers.registry import find_kind


def add(
    context: typer.Context,
    name: said.Name,
    *,
    kind: Annotated[
        str,
        typer.Option(
            help="How it is spoken to; `batchyard provider kinds` lists them.", metavar="KIND"
        ),
    ],
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
            "--set", help="A further setting of its kind; may be repeated.", metavar="NAME=VALUE"
        ),
    ] = None,
    allow_private: Annotated[
        bool | None,
        typer.Option(
            help="Let it be on a private or loopback address. [dim]\\[default: yes with the "
            "private PostgreSQL, else no][/dim]",
            show_default=False,
        ),
    ] = None,
    data_dir: options.DataDir = None,
) -> None:
    """Store a provider. Route items to it with `batchyard route set`.

    Every setting of its kind is an option too (`batchyard provider kinds KIND`), such as
    --account-sid TEXT.
    """
    found = find_kind(kind)
    rate = said.only_rate(rates)
    kept = said.name_settings(
        url=url,
        policy=policy,
        timeout=timeout,
        result_url=result_url,
        not_done=not_done,
        key_ttl=key_ttl,
        ask_settles_after=ask_settles_after,
    )
    kept |= said.read_further(kind, found, context.args, further)
    secret = read_secret(found.secrets_model, secret_file or ())
    settings = session.configure(data_dir=data_dir)
    is_private = settings.database_url is None
    with session.postgres(settings) as address:
        remarks = asyncio.run(
            _add(
                session.complete(settings),
                address,
                name=name,
                kind=kind,
                kept=kept,
                secret=secret,
                allow_private=is_private if allow_private is None else allow_private,
                concurrency=concurrency,
                rate=rate,
            )
        )
    typer.echo(f"The provider {name} is stored.")
    for remark in remarks:
        typer.echo(f"Note: {remark}", err=True)
    typer.echo(f"Next: batchyard route set --team SLUG --kind KIND --provider {name}", err=True)


async def _add(
    settings: Config,
    address: str,
    *,
    name: str,
    kind: str,
    kept: Mapping[str, object],
    secret: str | None,
    allow_private: bool,
    concurrency: int | None,
    rate: Rate | None,
) -> Sequence[str]:
    async with session.database(settings, address) as db:
        remarks = await add_provider(
            db,
            session.open_vault(settings),
            actor=session.find_actor(),
            name=name,
            kind=kind,
            settings=kept,
            secret=secret,
            allow_private=allow_private,
            concurrency=concurrency,
            rate=rate,
        )
        return [*remarks, *await remark_callbacks(settings, db, name=name)]
