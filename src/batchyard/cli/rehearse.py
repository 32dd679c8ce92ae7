"""`batchyard rehearse`: what a file would do, before it does anything."""

from datetime import datetime
from typing import Annotated

import typer
from babel.numbers import get_currency_precision

from batchyard.cli import choosing, list_options, options, remote, sending, tables, values
from batchyard.client import Between, Client, Rehearsal
from batchyard.errors import InvalidRequest
from batchyard.models import Kind


def rehearse(
    file: Annotated[
        str,
        typer.Argument(
            help="CSV, XLSX, JSON or NDJSON, also gzipped; - for standard input.",
            metavar="FILE",
            show_default=False,
        ),
    ],
    *,
    kind: Annotated[
        Kind,
        typer.Option(
            parser=values.word_of(Kind, what="kind of item"),
            help="What the rows are.",
            metavar="|".join(Kind),
        ),
    ] = Kind.CALL,
    agent: Annotated[
        str | None,
        typer.Option(
            help="Whose calls they would be, id or name: its hours count.", metavar="AGENT"
        ),
    ] = None,
    mapping: list_options.MappingName = None,
    map_: list_options.Map = None,
    sheet: list_options.Sheet = None,
    encoding: list_options.Encoding = None,
    at: Annotated[
        str | None, typer.Option(help="When it would start; now unless given.", metavar="TIME")
    ] = None,
    retry_on: list_options.RetryOn = None,
    retries: list_options.Retries = 0,
    retry_after: list_options.RetryAfter = "30m",
    duration: Annotated[
        str | None,
        typer.Option(
            help="How long an item takes, where nothing was observed.", metavar="DURATION"
        ),
    ] = None,
    failure_rate: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share that fails, where nothing was observed."),
    ] = None,
    price: Annotated[
        str | None,
        typer.Option(
            help="Of one item, where nothing was observed, in the currency's smallest unit: 5,USD "
            "is five cents.",
            metavar="5,USD",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Say what a file would do: verdicts, attempts, cost, time, limits.

    The server at BATCHYARD_URL checks the whole file like an upload of the team of BATCHYARD_TOKEN,
    then plays it through under the rules that hold now. Nothing is stored. Costs are shown in
    their currency; with --json, as --price, in its smallest unit.
    """
    price_minor, currency = _read_price(price)
    said: dict[str, object] = {
        "kind": kind,
        "mapping": list_options.read_map(map_),
        "mapping_name": mapping,
        "sheet": sheet,
        "encoding": encoding,
        "start_at": None if at is None else values.read_time(at).isoformat(),
        "retries": list_options.read_retries(retry_on, at_most=retries, after=retry_after),
        "assumptions": {
            "duration_seconds": None if duration is None else values.read_duration(duration),
            "failure_rate": failure_rate,
            "price_minor": price_minor,
            "currency": currency,
        },
    }
    with sending.list_file(file) as sent:

        async def question(client: Client) -> Rehearsal:
            agent_id = None if agent is None else await choosing.find_agent(client, agent)
            return await client.rehearse(sent.file, agent_id=agent_id, **said)

        told = remote.ask(question)
    if as_json:
        tables.print_json(told.model_dump(mode="json"))
        return
    _show(told)


def _show(told: Rehearsal) -> None:
    upload = told.upload
    rows = [
        ("rows", upload.rows),
        ("accepted", upload.accepted),
        ("refused", upload.refused),
        ("left out", upload.skipped),
        *((f"  {code}", n) for code, n in sorted(upload.codes.items())),
        ("provider", f"{told.provider} ({told.basis})"),
        ("attempts", _between(told.attempts)),
        ("  of them retries", round(told.retries)),
        *((f"  would end {status}", round(n)) for status, n in sorted(told.ended.items())),
        *(
            (f"cost in {currency}", _between(cost, digits=get_currency_precision(currency)))
            for currency, cost in told.costs.items()
        ),
        ("starts", told.starts_at),
        ("ends", told.ends_at.expected),
        ("  at the earliest", told.ends_at.low),
        ("  at the latest", told.ends_at.high),
        ("busiest hour", _hour(told.busiest_hour, told.busiest_hour_attempts)),
        ("limited by", told.limit_sentence or "nothing"),
    ]
    tables.print_table(("", ""), rows)
    if told.sampled < told.items:
        typer.echo(f"Played with {told.sampled} of {told.items} items.", err=True)
    for remark in told.remarks:
        typer.echo(remark, err=True)


def _between(found: Between, *, digits: int = 0) -> str:
    """Show a number that is counted in units of so many decimal digits."""
    unit = 10**digits
    low, expected, high = (number / unit for number in (found.low, found.expected, found.high))
    return f"{expected:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _hour(hour: datetime | None, attempts: float) -> str | None:
    return None if hour is None else f"{hour:%Y-%m-%d %H:00} ({attempts:.0f} attempts)"


def _read_price(text: str | None) -> tuple[float | None, str | None]:
    if text is None:
        return None, None
    number, comma, currency = text.partition(",")
    try:
        return float(number), currency.strip().upper() if comma else "USD"
    except ValueError as error:
        raise InvalidRequest(f"{text!r} is no price such as 5,USD.") from error
