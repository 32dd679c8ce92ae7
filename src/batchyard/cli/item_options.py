"""Options by which items are chosen, alike for every command that does."""

from typing import Annotated

import typer

Status = Annotated[
    list[str] | None, typer.Option(help="Only with this status; repeat it.", metavar="WORD")
]
Code = Annotated[str | None, typer.Option(help="Only with this error code.", metavar="CODE")]
Number = Annotated[str | None, typer.Option(help="Only numbers that begin so.", metavar="TEXT")]
Reference = Annotated[
    str | None, typer.Option(help="Only references that begin so.", metavar="TEXT")
]
Search = Annotated[str | None, typer.Option(help="Words that the row has.", metavar="WORDS")]


def as_filters(
    *,
    status: list[str] | None = None,
    code: str | None = None,
    number: str | None = None,
    reference: str | None = None,
    search: str | None = None,
) -> dict[str, object]:
    """Return them as the API takes them."""
    return {
        "status": status or None,
        "error_code": code,
        "number": number,
        "reference": reference,
        "text": search,
    }
