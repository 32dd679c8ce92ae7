"""`batchyard webhook`: who is told what happens in the team."""

from typing import Annotated
from uuid import UUID

import typer

from batchyard.cli import options, remote, tables
from batchyard.client import Client, Delivery, Endpoint, Try
from batchyard.errors import InvalidRequest

webhook = typer.Typer(
    no_args_is_help=True, help="Tell other programs what happens, and see what was told."
)

LARGEST_PAGE = 500
Id = Annotated[UUID, typer.Argument(help="Its id.", metavar="ENDPOINT", show_default=False)]


@webhook.command()
def add(
    url: Annotated[str, typer.Argument(help="Who is told: an address.", show_default=False)],
    *,
    event: Annotated[
        list[str] | None,
        typer.Option(
            help="Only such events: item.*, item.completed, batch.ended ...; repeat it.",
            metavar="EVENT",
        ),
    ] = None,
    description: Annotated[
        str | None, typer.Option(help="What it is, for people.", metavar="TEXT")
    ] = None,
) -> None:
    """Tell an address what happens; deliveries are signed: `batchyard webhook secret`."""
    made = remote.ask(
        lambda client: client.add_endpoint(url, description=description, events=event)
    )
    what = "everything" if made.events is None else ", ".join(made.events)
    typer.echo(f"{made.id}: {made.url} is told {what}.")
    typer.echo(f"Try it: batchyard webhook test {made.id}", err=True)


@webhook.command("list")
def list_(*, as_json: options.Json = False) -> None:
    """List who is told, and whether it works."""
    rows = remote.ask(lambda client: client.endpoints())
    if as_json:
        tables.print_json([row.model_dump(mode="json") for row in rows])
        return
    if not rows:
        typer.echo("Nobody is told anything: batchyard webhook add URL")
        return
    tables.print_table(("endpoint", "address", "events", "works"), [_cells(row) for row in rows])


@webhook.command()
def test(endpoint: Id) -> None:
    """Send an event `webhook.test`; `batchyard webhook deliveries` tells what became of it."""
    sent = remote.ask(lambda client: client.send_test(endpoint))
    typer.echo(f"Sent as {sent}. See: batchyard webhook deliveries --endpoint {endpoint}")


@webhook.command()
def enable(endpoint: Id) -> None:
    """Tell an address again that was disabled; it starts anew."""
    shown = remote.ask(lambda client: client.change_endpoint(endpoint, is_disabled=False))
    typer.echo(f"{shown.url} is told again.")


@webhook.command()
def disable(endpoint: Id) -> None:
    """Tell an address nothing for now."""
    shown = remote.ask(lambda client: client.change_endpoint(endpoint, is_disabled=True))
    typer.echo(f"{shown.url} is told nothing for now.")


@webhook.command()
def remove(endpoint: Id) -> None:
    """Tell an address nothing any more; what waits for it is dropped."""
    remote.ask(lambda client: client.remove_endpoint(endpoint))
    typer.echo("It is told nothing any more.")


@webhook.command()
def secret(
    *,
    rotate: Annotated[
        bool,
        typer.Option("--rotate", help="Sign with a new one too; the old one retires in a day."),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Print what signs the team's webhooks, the newest first."""
    secrets = remote.ask(
        lambda client: client.rotate_secret() if rotate else client.signing_secrets()
    )
    if as_json:
        tables.print_json(secrets)
        return
    for text in secrets:
        typer.echo(text)


@webhook.command()
def deliveries(
    delivery: Annotated[
        UUID | None,
        typer.Argument(help="Of this one every try.", metavar="[DELIVERY]", show_default=False),
    ] = None,
    *,
    state: Annotated[
        str | None,
        typer.Option(help="Only these.", metavar="pending|sending|delivered|failed|dropped"),
    ] = None,
    batch: Annotated[UUID | None, typer.Option(help="Only of this batch.", metavar="ID")] = None,
    endpoint: Annotated[
        UUID | None, typer.Option(help="Only to this endpoint.", metavar="ID")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="So many at most.")] = 20,
    as_json: options.Json = False,
) -> None:
    """List what was told and what waits, the newest first; or every try of one delivery.

    With --json each is a line of JSON.
    """
    if delivery is not None:
        _show_tries(remote.ask(lambda client: client.tries(delivery)), as_json=as_json)
        return
    filters: dict[str, object] = {"state": state, "batch_id": batch, "endpoint_id": endpoint}
    rows = remote.ask(lambda client: _list(client, filters, limit=limit))
    if as_json:
        for row in rows[:limit]:
            tables.print_line(row.model_dump(mode="json"))
        return
    headings = ("delivery", "event", "to", "state", "tries", "last answer", "made")
    tables.print_table(headings, [_told(row) for row in rows[:limit]])
    if len(rows) > limit:
        typer.echo(f"There are more: --limit {limit * 10}", err=True)


@webhook.command()
def replay(
    delivery: Annotated[
        UUID | None, typer.Argument(help="This one.", metavar="[DELIVERY]", show_default=False)
    ] = None,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="Everything that was given up.")] = False,
) -> None:
    """Send a delivery once more, under its old id, by which receivers know it."""
    if failed == (delivery is not None):
        raise InvalidRequest("Name a delivery, or say --failed.")
    n = remote.ask(lambda client: client.redeliver(delivery))
    typer.echo(f"Deliveries sent once more: {n}.")


async def _list(client: Client, filters: dict[str, object], *, limit: int) -> list[Delivery]:
    rows: list[Delivery] = []
    async for row in client.deliveries(**filters, limit=min(limit + 1, LARGEST_PAGE)):
        rows.append(row)
        if len(rows) > limit:
            break
    return rows


def _show_tries(tries: list[Try], *, as_json: bool) -> None:
    if as_json:
        for one in tries:
            tables.print_line(one.model_dump(mode="json"))
        return
    rows = [(tables.show_time(t.at), f"{t.duration_ms} ms", t.status, t.error) for t in tries]
    tables.print_table(("at", "took", "answer", "error"), rows)


def _cells(row: Endpoint) -> tuple[object, ...]:
    if row.disabled_at is not None:
        works = f"disabled {tables.show_time(row.disabled_at)}: batchyard webhook enable {row.id}"
    elif row.failing_since is not None:
        works = f"fails since {tables.show_time(row.failing_since)} ({row.failures} tries)"
    else:
        works = "yes"
    return row.id, row.url, "all" if row.events is None else ", ".join(row.events), works


def _told(row: Delivery) -> tuple[object, ...]:
    last = row.last_error if row.last_status is None else row.last_status
    made = tables.show_time(row.created_at)
    return row.id, row.type, row.url, row.state, row.attempts, last, made
