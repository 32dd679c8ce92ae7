"""What is said of a provider when it is added and when it is changed."""

from collections.abc import Sequence
from typing import Annotated

import typer

from batchyard.cli import values
from batchyard.cli.kind_options import read_options
from batchyard.errors import InvalidRequest
from batchyard.models import Policy, Rate
from batchyard.providers.base import Provider

Name = Annotated[str, typer.Argument(help="Its name here.", show_default=False)]

Url = Annotated[str | None, typer.Option(help="Where items are posted.", metavar="URL")]

SecretFile = Annotated[
    list[str] | None,
    typer.Option(
        help="File with its secret, - for standard input; NAME=FILE where the kind names several.",
        metavar="FILE",
    ),
]

PolicyWord = Annotated[
    Policy | None,
    typer.Option(
        parser=values.word_of(Policy, what="policy"),
        metavar="|".join(Policy),
        help="What it promises about a key sent twice: does it once, or can be asked, or neither.",
    ),
]

Concurrency = Annotated[
    int | None,
    typer.Option(min=1, max=1_000_000, help="Items it is given at once.", metavar="N"),
]

Rates = Annotated[
    list[Rate] | None,
    typer.Option(
        "--rate",
        parser=values.read_rate,
        help="Items it is given in a time: 5/s, 100/min, 1000/h or 10000/day.",
        metavar="RATE",
    ),
]

Timeout = Annotated[
    float | None,
    typer.Option(
        parser=values.read_duration,
        help="An answer that takes longer is lost: 30s, 2m.",
        metavar="TIME",
    ),
]

ResultUrl = Annotated[
    str | None,
    typer.Option(help="Where it is asked about a key, as URL/KEY.", metavar="URL"),
]

NotDone = Annotated[
    str | None,
    typer.Option(
        help="Statuses with which it says that nothing was done: 409,423.", metavar="LIST"
    ),
]

KeyTtl = Annotated[
    float | None,
    typer.Option(
        parser=values.read_duration,
        help="How long it remembers a key: 24h, 7d.",
        metavar="TIME",
    ),
]

AskSettlesAfter = Annotated[
    float | None,
    typer.Option(
        parser=values.read_duration,
        help="So long after a request its 'never received' is not believed: 0s, 1m.",
        metavar="TIME",
    ),
]


def name_settings(
    *,
    url: str | None,
    policy: Policy | None,
    timeout: float | None,
    result_url: str | None,
    not_done: str | None,
    key_ttl: float | None,
    ask_settles_after: float | None,
) -> dict[str, object]:
    """Return the settings that options of every kind name; raise `InvalidRequest`."""
    given: dict[str, object] = {
        "url": url,
        "policy": policy,
        "timeout_seconds": timeout,
        "result_url": result_url,
        "not_done": None if not_done is None else values.read_statuses(not_done),
        "key_ttl_seconds": key_ttl,
        "ask_settles_after_seconds": ask_settles_after,
    }
    return {key: value for key, value in given.items() if value is not None}


def only_rate(rates: Sequence[Rate] | None) -> Rate | None:
    """Return the rate that was named, if any; raise `InvalidRequest` for several."""
    if rates and len(rates) > 1:
        raise InvalidRequest(
            "Say one --rate here; several are for: batchyard limit set provider:NAME --rate 5/s "
            "--rate 100/min."
        )
    return rates[0] if rates else None


def read_further(
    kind: str, found: type[Provider], words: Sequence[str], further: Sequence[str] | None
) -> dict[str, object]:
    """Read the options of a kind's own settings, and `NAME=VALUE`; raise `InvalidRequest`."""
    return {
        **read_options(kind, found.settings_model, words),
        **dict(values.read_setting(text) for text in further or []),
    }
