"""`batchyard start`, `pause`, `resume`, `stop`, `cancel`, `delete`, `retry`."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Literal
from uuid import UUID

import typer

from batchyard.cli import choosing, remote, tables, values
from batchyard.cli.choosing import BatchName, BatchNames, Yes, count
from batchyard.client import Batch, Client
from batchyard.errors import InvalidRequest
from batchyard.lifecycle import IN_FLIGHT_PHASES, BatchEvent, next_batch_state
from batchyard.models import BatchState, Kind, Phase
from batchyard.operations.changes import FAILED_STATUSES


def start(
    batch: BatchNames,
    *,
    at: Annotated[
        str | None,
        typer.Option(
            help="Not now but then, such as 2030-01-29T08:30:00+01:00; without an offset UTC.",
            metavar="TIME",
        ),
    ] = None,
) -> None:
    """Start batches that were only uploaded, now or at a time."""
    when = None if at is None else values.read_time(at)

    async def one(client: Client, found: Batch) -> str:
        items = _items(found, found.total)
        if when is None:
            await client.steer(found.id, "dispatch")
            return f"{items} started. Follow it: batchyard watch {found.id}"
        shown = await client.change_batch(found.id, scheduled_at=when.isoformat())
        return f"{items} to start {tables.show_time(shown.scheduled_at)}."

    _each(batch, BatchEvent.DISPATCHED if when is None else BatchEvent.SCHEDULED, one)


def pause(batch: BatchNames) -> None:
    """Send nothing more until resumed; what is out finishes."""
    _each(batch, BatchEvent.PAUSED, _steering("pause", "paused with {waiting} to go{flying}."))


def resume(
    batch: Annotated[
        list[str] | None,
        typer.Argument(
            parser=choosing.check_batch, help="Their ids, or `latest`.", metavar="[BATCH]"
        ),
    ] = None,
    *,
    is_all_restored: Annotated[
        bool, typer.Option("--all-restored", help="All that `batchyard restored` paused.")
    ] = False,
) -> None:
    """Let paused batches go on."""
    if is_all_restored == bool(batch):
        raise InvalidRequest("Name batches, or say --all-restored.")
    if batch:
        _each(batch, BatchEvent.RESUMED, _steering("resume", "resumed with {waiting} to go."))
        return
    resumed = remote.ask(lambda client: client.resume_restored())
    for batch_id in resumed:
        typer.echo(batch_id)
    typer.echo(f"Batches that go on: {len(resumed)}.", err=True)


def stop(batch: BatchNames, *, is_sure: Yes = False) -> None:
    """End batches: what was not sent never is, what is out finishes."""
    chosen = _ask_each(
        batch, BatchEvent.STOPPED, "{waiting} will never be sent{flying}.", is_sure=is_sure
    )
    _each(chosen, BatchEvent.STOPPED, _steering("stop", "stopped; {waiting} never sent{flying}."))


def cancel(batch: BatchNames, *, is_sure: Yes = False) -> None:
    """Cancel batches that were never started."""

    async def one(client: Client, found: Batch) -> str:
        await client.cancel_batch(found.id)
        return f"cancelled, with {_items(found, found.total)}."

    chosen = _ask_each(batch, BatchEvent.CANCELLED, "{all} will never be sent.", is_sure=is_sure)
    _each(chosen, BatchEvent.CANCELLED, one)


def delete(batch: BatchNames, *, is_sure: Yes = False) -> None:
    """Delete batches in any state, with all they know."""

    async def one(client: Client, found: Batch) -> str:
        await client.delete_batch(found.id)
        return f"deleted, with {_items(found, found.total)}."

    chosen = _ask_each(
        batch, None, "{all} will be deleted, and their results{flying}.", is_sure=is_sure
    )
    _each(chosen, None, one)


def retry(
    batch: BatchName,
    *,
    status: Annotated[
        list[str] | None,
        typer.Option(help="Only what ended so; repeat it. Else all that failed.", metavar="WORD"),
    ] = None,
    item: Annotated[
        list[UUID] | None, typer.Option(help="Only this item; repeat it.", metavar="ID")
    ] = None,
    is_sure: Yes = False,
) -> None:
    """Try failed items of a batch again, under new keys.

    A batch that has ended runs again. Unknown outcomes are not among them: `batchyard resolve`
    decides those.
    """
    found = remote.ask(lambda client: _read(client, batch))
    words = status or FAILED_STATUSES[Kind(found.kind)]
    n = sum(found.counts.get(word, 0) for word in words)
    n = min(n, len(item)) if item else n
    if n == 0:
        typer.echo(f"Nothing to try again: no item of {_name(found)} ended {', '.join(words)}.")
        return
    choosing.confirm(f"{_name(found)}: {_items(found, n)} will be tried again.", is_sure=is_sure)
    again = remote.ask(lambda client: client.retry_failed(found.id, statuses=status, item_ids=item))
    typer.echo(f"{_name(found)}: {_items(found, again)} will be tried again.")


One = Callable[[Client, Batch], Awaitable[str]]


def _steering(action: Literal["pause", "resume", "stop"], sentence: str) -> One:
    async def one(client: Client, found: Batch) -> str:
        return _fill(sentence, await client.steer(found.id, action), before=found)

    return one


def _each(names: Sequence[str], event: BatchEvent | None, one: One) -> None:
    """Do something to each batch, one after the other; say what it touched."""

    async def do(client: Client, name: str) -> tuple[Batch, str]:
        found = await _read(client, name)
        _check(found, event)
        return found, await one(client, found)

    for name in names:
        found, told = remote.ask(partial(do, name=name))
        typer.echo(f"{_name(found)}: {told}")


def _check(found: Batch, event: BatchEvent | None) -> None:
    """Raise `Conflict` where the state of a batch does not allow what is wanted."""
    if event is not None:
        next_batch_state(BatchState(found.state), event)


def _ask_each(
    names: Sequence[str], event: BatchEvent | None, sentence: str, *, is_sure: bool
) -> Sequence[str]:
    """Ask before something is done to a batch; return which they are, `latest` as it was asked."""
    if is_sure:
        return names
    chosen = []
    for name in names:
        found = remote.ask(partial(_read, name=name))
        _check(found, event)
        choosing.confirm(f"{_name(found)}: {_fill(sentence, found, before=found)}", is_sure=False)
        chosen.append(str(found.id))
    return chosen


async def _read(client: Client, name: str) -> Batch:
    return await client.batch(await choosing.find_batch(client, name))


def _fill(sentence: str, now: Batch, *, before: Batch) -> str:
    flying = sum(now.phases.get(phase, 0) for phase in IN_FLIGHT_PHASES)
    return sentence.format(
        waiting=_items(before, before.phases.get(Phase.READY, 0)),
        all=_items(before, before.total),
        flying=f", {flying:,} under way finish" if flying else "",
    )


def _items(batch: Batch, n: int) -> str:
    return count(n, batch.kind)


def _name(batch: Batch) -> str:
    return tables.plain(choosing.name_batch(batch))
