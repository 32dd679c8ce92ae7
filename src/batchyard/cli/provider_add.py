"""`batchyard provider add`: everything that can be said about a provider."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from batchyard.cli import options, session, values
from batchyard.cli.kind_options import read_options
from batchyard.cli.provider_secrets import read_secret
from batchyard.config import Config
from batchyard.models import Policy, Rate
from batchyard.operations.administration import add_provider
from batchyard.providers.registry import find_kind


def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name here.", show_default=False)],
    *,
    kind: Annotated[
        str,
        typer.Option(
            help="How it is spoken to; `batchyard provider kinds` lists them.", metavar="KIND"
        ),
    ],
    url: Annotated[str | None, typer.Option(help="Where items are posted.", metavar="URL")] = None,
    secret_file: Annotated[
        list[str] | None,
        typer.Option(
            help="File with its secret, - for standard input; NAME=FILE where the kind names "
            "several.",
            metavar="FILE",
        ),
    ] = None,
    policy: Annotated[
        Policy | None,
        typer.Option(
            parser=values.word_of(Policy, what="policy"),
            metavar="|".join(Policy),
            help="What it promises about a key sent twice: does it once, or can be asked, or "
            "neither.",
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, max=1_000_000, help="Items it is given at once.", metavar="N"),
    ] = None,
    rate: Annotated[
        Rate | None,
        typer.Option(
            parser=values.read_rate,
            help="Items it is given in a time: 5/s, 100/min, 1000/h or 10000/day.",
            metavar="RATE",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            parser=values.read_duration,
            help="An answer that takes longer is lost: 30s, 2m.",
            metavar="TIME",
        ),
    ] = None,
    result_url: Annotated[
        str | None,
        typer.Option(help="Where it is asked about a key, as URL/KEY.", metavar="URL"),
    ] = None,
    not_done: Annotated[
        str | None,
        typer.Option(
            help="Statuses with which it says that nothing was done: 409,423.", metavar="LIST"
        ),
    ] = None,
    key_ttl: Annotated[
        float | None,
        typer.Option(
            parser=values.read_duration,
            help="How long it remembers a key: 24h, 7d.",
            metavar="TIME",
        ),
    ] = None,
    ask_settles_after: Annotated[
        float | None,
        typer.Option(
            parser=values.read_duration,
            help="So long after a request its 'never received' is not believed: 0s, 1m.",
            metavar="TIME",
        ),
    ] = None,
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
    given: dict[str, object] = {
        "url": url,
        "policy": policy,
        "timeout_seconds": timeout,
        "result_url": result_url,
        "not_done": None if not_done is None else values.read_statuses(not_done),
        "key_ttl_seconds": key_ttl,
        "ask_settles_after_seconds": ask_settles_after,
    }
    kept = {key: value for key, value in given.items() if value is not None}
    kept |= read_options(kind, found.settings_model, context.args)
    kept |= dict(values.read_setting(text) for text in further or [])
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
        return await add_provider(
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
