"""Options that say how a list is read, and when its items are tried again."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from batchyard.cli import values
from batchyard.errors import InvalidRequest

HOW, RUN = "How the list is read", "How it runs"

MappingName = Annotated[
    str | None,
    typer.Option(
        "--mapping",
        help="A saved mapping of the columns.",
        metavar="NAME",
        rich_help_panel=HOW,
    ),
]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help="What a column means; repeat it. Nothing behind the = leaves the column out.",
        metavar="COLUMN=MEANING",
        rich_help_panel=HOW,
    ),
]
Sheet = Annotated[
    str | None,
    typer.Option(help="Of a spreadsheet; the first one unless named.", rich_help_panel=HOW),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        help="Of a text, such as windows-1251; found out unless said.",
        metavar="NAME",
        rich_help_panel=HOW,
    ),
]
RetryOn = Annotated[
    str | None,
    typer.Option(
        help="Statuses tried again, with commas.", metavar="STATUSES", rich_help_panel=RUN
    ),
]
Retries = Annotated[
    int, typer.Option(min=0, max=10, help="How often at most.", rich_help_panel=RUN)
]
RetryAfter = Annotated[
    str, typer.Option(help="After how long.", metavar="DURATION", rich_help_panel=RUN)
]


def read_map(texts: Sequence[str] | None) -> Mapping[str, str | None] | None:
    """Read what columns mean; raise `InvalidRequest`."""
    return dict(_read_meaning(text) for text in texts) if texts else None


def read_retries(statuses: str | None, *, at_most: int, after: str) -> Mapping[str, object]:
    """Return the retry policy as the API takes it; raise `InvalidRequest` for a wrong duration."""
    return {
        "statuses": [part.strip() for part in (statuses or "").split(",") if part.strip()],
        "max_retries": at_most,
        "intervals_minutes": [values.read_duration(after) / 60],
    }


def _read_meaning(text: str) -> tuple[str, str | None]:
    column, equals, meaning = text.rpartition("=")
    if not equals or not column:
        raise InvalidRequest(
            f"{text!r} does not say what a column means, as in Mobil=contact_number."
        )
    return column, meaning or None
