"""`batchyard resolve`: a person decides what became of items nobody could find out about."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer

from batchyard.cli import choosing, item_options, remote, values
from batchyard.cli.choosing import Yes
from batchyard.client import Client
from batchyard.errors import InvalidRequest
from batchyard.models import Phase


class Verdict(StrEnum):
    """What a person says became of them."""

    DONE = "done"
    FAILED = "failed"
    RETRY = "retry"


EFFECTS = {
    Verdict.DONE: "will count as done",
    Verdict.FAILED: "will count as failed",
    Verdict.RETRY: "will be sent again under new keys",
}


def resolve(
    *,
    verdict: Annotated[
        Verdict,
        typer.Option(
            "--as",
            parser=values.word_of(Verdict, what="verdict"),
            help="What became of them; retry sends them again, as something new.",
            metavar="|".join(Verdict),
        ),
    ],
    batch: Annotated[UUID | None, typer.Option(help="Those of this batch.", metavar="ID")] = None,
    item: Annotated[
        list[UUID] | None, typer.Option(help="This one; may be repeated.", metavar="ID")
    ] = None,
    status: item_options.Status = None,
    code: item_options.Code = None,
    number: item_options.Number = None,
    reference: item_options.Reference = None,
    search: item_options.Search = None,
    is_all: Annotated[bool, typer.Option("--all", help="All of the team.")] = False,
    is_sure: Yes = False,
) -> None:
    """Decide unknown outcomes; `batchyard unknown` lists them.

    What is given together narrows together. Counts and lists follow at once. The history of each
    item keeps who decided.
    """
    filters = item_options.as_filters(
        status=status, code=code, number=number, reference=reference, search=search
    )
    is_chosen = batch is not None or bool(item) or any(filters.values())
    if not is_chosen and not is_all:
        raise InvalidRequest("Say which: --batch ID, --item ID, a filter, or --all of the team.")
    if is_all and is_chosen:
        raise InvalidRequest("Say either --all, or which: --batch ID, --item ID, a filter.")
    if not is_sure:
        n = remote.ask(lambda client: _count(client, batch, item, filters))
        if n:
            choosing.confirm(f"{_items(n)} {EFFECTS[verdict]}.", is_sure=False)
    decided = remote.ask(
        lambda client: client.resolve(
            verdict.value, batch_id=batch, item_ids=item or None, everything=is_all, **filters
        )
    )
    typer.echo(f"Decided as {verdict}: {_items(decided)}.")
    left = len(set(item or ())) - decided
    if item and left > 0:
        # Which of both it was the server does not tell.
        misfit = "do not fit, or " if any(filters.values()) else ""
        typer.echo(f"{left} of those named {misfit}have no unknown outcome here.", err=True)


async def _count(
    client: Client, batch: UUID | None, items: list[UUID] | None, filters: Mapping[str, object]
) -> int:
    """Return how many unknown outcomes it would be; of items that are named, at most."""
    if not items:
        return (await client.unknown_items(batch_id=batch, limit=1, **filters)).total
    found = [await client.item(item_id) for item_id in set(items)]
    return sum(one.phase == Phase.UNKNOWN and batch in {None, one.batch_id} for one in found)


def _items(n: int) -> str:
    return choosing.count(n, "item")
