"""`batchyard retention`: for how many days the team keeps what."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from batchyard.cli import options, remote, tables
from batchyard.errors import InvalidRequest
from batchyard.operations.retention import DEFAULT_DAYS, LEAST_DAYS, MOST_DAYS

SUFFIX = "_days"
"""What the API's names have behind those that people write."""

DEFAULT = "default"
NAMES: Mapping[str, str] = {name.removesuffix(SUFFIX): name for name in DEFAULT_DAYS}
MEANINGS: Mapping[str, str] = {
    "items": "what is in items and in refused rows, after the end of their batch",
    "transcripts": "transcripts, recordings, summaries of calls, likewise, or with their items",
    "documents": "labels and other documents, after the end of their batch",
    "events": "events, after they happened",
    "webhooks": "what webhooks were told, after it was told",
    "idempotency": "Idempotency-Keys with their answers, after the answer",
}

retention = typer.Typer(invoke_without_command=True)


@retention.callback()
def show(context: typer.Context, *, as_json: options.Json = False) -> None:
    """Show for how many days the team keeps what, and set it.

    Without a command it shows all of it; docs/privacy.md says what becomes of what is older.
    """
    if context.invoked_subcommand is not None:
        return
    held = remote.ask(lambda client: client.retention())
    told = {name.removesuffix(SUFFIX): (n, DEFAULT_DAYS.get(name)) for name, n in held.items()}
    if as_json:
        tables.print_json({name: {"days": n, DEFAULT: usual} for name, (n, usual) in told.items()})
        return
    rows = [(name, n, usual, MEANINGS.get(name)) for name, (n, usual) in told.items()]
    tables.print_table(("kept", "days", DEFAULT, "what it is"), rows)


@retention.command("set")
def set_(
    days: Annotated[
        list[str],
        typer.Argument(
            help="What is kept, for how many days: items=90 transcripts=30; or items=default.",
            metavar="NAME=DAYS",
            show_default=False,
        ),
    ],
) -> None:
    """Set for how many days the team keeps some of it; what is not named stays as it is.

    What is older then is removed within minutes, for good.
    """
    given = _read(days)
    held = remote.ask(lambda client: client.change_retention(**given))
    for name, n in given.items():
        usual = ", the default" if n is None else ""
        typer.echo(f"{name.removesuffix(SUFFIX)}: kept for {_count(held[name])}{usual}.")


def _read(texts: Sequence[str]) -> dict[str, int | None]:
    """Read settings by the API's names, the default as None; raise `InvalidRequest`."""
    given: dict[str, int | None] = {}
    for text in texts:
        what, equals, n = text.partition("=")
        if not equals:
            raise InvalidRequest(f"{text!r} is no setting such as items=90 or items={DEFAULT}.")
        if what not in NAMES:
            known = ", ".join(NAMES)
            raise InvalidRequest(f"There is nothing {what!r} to keep. Known: {known}.")
        if NAMES[what] in given:
            raise InvalidRequest(f"{what} is set twice. Name it once.")
        given[NAMES[what]] = None if n == DEFAULT else _read_days(what, n)
    return given


def _read_days(what: str, text: str) -> int:
    most = MOST_DAYS[NAMES[what]]
    if not (text.isascii() and text.isdecimal()):
        reason = "is no whole number of days"
    elif len(text) > 9 or int(text) > most:
        reason = f"is more than the most, {_count(most)}"
    elif int(text) < LEAST_DAYS:
        reason = f"is less than the least, {_count(LEAST_DAYS)}"
    else:
        return int(text)
    raise InvalidRequest(f"{what}: {text!r} {reason}. Use {LEAST_DAYS} to {most}, or {DEFAULT}.")


def _count(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"
