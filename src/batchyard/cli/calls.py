"""`batchyard calls` and `shipments`: a list becomes a batch, and starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer

from batchyard.cli import (
    choosing,
    exit_codes,
    list_options,
    options,
    remote,
    sending,
    tables,
    values,
    watch,
)
from batchyard.cli.list_options import HOW, RUN
from batchyard.cli.sending import Sending
from batchyard.client import Batch, Client, Report
from batchyard.errors import InvalidRequest
from batchyard.intake.choices import Duplicates, RowPolicy

File = Annotated[
    str,
    typer.Argument(
        help="CSV, XLSX, JSON or NDJSON, also gzipped; - for standard input.",
        metavar="FILE",
        show_default=False,
    ),
]
Name = Annotated[str | None, typer.Option(help="What people call the batch.", metavar="TEXT")]
At = Annotated[
    str | None,
    typer.Option(
        help="Start then, such as 2030-01-29T08:30:00+01:00; without an offset UTC.",
        metavar="TIME",
    ),
]
NoStart = Annotated[
    bool, typer.Option("--no-start", help="Only upload; `batchyard start` starts it.")
]
Watch = Annotated[bool, typer.Option("--watch", help="Follow it until it has ended.")]
Again = Annotated[
    bool, typer.Option("--again", help="Also when the very same file came minutes ago.")
]
Policy = Annotated[
    RowPolicy,
    typer.Option(
        parser=values.word_of(RowPolicy, what="policy"),
        help="Take the good rows of a list that has bad ones, or nothing of it.",
        metavar="|".join(RowPolicy),
        rich_help_panel=HOW,
    ),
]
Twice = Annotated[
    Duplicates,
    typer.Option(
        "--duplicates",
        parser=values.word_of(Duplicates, what="way with duplicates"),
        help="What becomes of a number or reference that the list has twice.",
        metavar="|".join(Duplicates),
        rich_help_panel=HOW,
    ),
]
Recent = Annotated[
    Duplicates,
    typer.Option(
        parser=values.word_of(Duplicates, what="way with duplicates"),
        help="The same against what the team did lately.",
        metavar="|".join(Duplicates),
        rich_help_panel=HOW,
    ),
]
RecentDays = Annotated[
    int, typer.Option(min=0, max=365, help="How far back that is.", rich_help_panel=HOW)
]
Priority = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=9,
        help="Among the team's batches; 9 goes first, 5 is usual.",
        show_default=False,
        rich_help_panel=RUN,
    ),
]


SAME_FILE = "same_file"
"""What the server calls a list that it took minutes ago."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wish:
    """What is to become of a list once it is a batch."""

    starts: bool
    at: datetime | None
    watches: bool
    as_json: bool


def calls(
    file: File,
    *,
    agent: Annotated[
        str, typer.Option(help="Who calls: id or name.", metavar="AGENT", show_default=False)
    ],
    from_: Annotated[
        list[str] | None,
        typer.Option("--from", help="A number to call from; repeat it.", metavar="NUMBER"),
    ] = None,
    name: Name = None,
    at: At = None,
    no_start: NoStart = False,
    watch_: Watch = False,
    again: Again = False,
    mapping: list_options.MappingName = None,
    map_: list_options.Map = None,
    sheet: list_options.Sheet = None,
    encoding: list_options.Encoding = None,
    policy: Policy = RowPolicy.GOOD_ROWS,
    duplicates: Twice = Duplicates.KEEP,
    recent: Recent = Duplicates.KEEP,
    recent_days: RecentDays = 7,
    retry_on: list_options.RetryOn = None,
    retries: list_options.Retries = 0,
    retry_after: list_options.RetryAfter = "30m",
    priority: Priority = None,
    as_json: options.Json = False,
) -> None:
    """Upload a list of calls, and start it.

    Good rows become calls; the others are told with their line and what to do, and can be mended:
    `batchyard report`. Exit code 1 when no row was taken, or with --watch when the batch did not
    complete.
    """
    said = {
        "kind": "call",
        "reference": name,
        "from_numbers": from_ or None,
        "mapping": list_options.read_map(map_),
        "mapping_name": mapping,
        "sheet": sheet,
        "encoding": encoding,
        "policy": policy,
        "duplicates": duplicates,
        "recent": recent,
        "recent_days": recent_days,
        "retries": list_options.read_retries(retry_on, at_most=retries, after=retry_after),
        "priority": priority,
        "refuses_same_file": not again,
    }
    _run(file, said, _read_wish(at, no_start, watch_, as_json), agent=agent)


def shipments(
    file: File,
    *,
    name: Name = None,
    at: At = None,
    no_start: NoStart = False,
    watch_: Watch = False,
    again: Again = False,
    mapping: list_options.MappingName = None,
    map_: list_options.Map = None,
    sheet: list_options.Sheet = None,
    encoding: list_options.Encoding = None,
    policy: Policy = RowPolicy.GOOD_ROWS,
    duplicates: Twice = Duplicates.KEEP,
    recent: Recent = Duplicates.KEEP,
    recent_days: RecentDays = 7,
    retry_on: list_options.RetryOn = None,
    retries: list_options.Retries = 0,
    retry_after: list_options.RetryAfter = "30m",
    priority: Priority = None,
    as_json: options.Json = False,
) -> None:
    """Upload a list of shipments, and start booking them.

    Good rows become shipments; the others are told with their line and what to do, and can be
    mended: `batchyard report`. Exit code 1 when no row was taken, or with --watch when the batch
    did not complete.
    """
    said = {
        "kind": "shipment",
        "reference": name,
        "mapping": list_options.read_map(map_),
        "mapping_name": mapping,
        "sheet": sheet,
        "encoding": encoding,
        "policy": policy,
        "duplicates": duplicates,
        "recent": recent,
        "recent_days": recent_days,
        "retries": list_options.read_retries(retry_on, at_most=retries, after=retry_after),
        "priority": priority,
        "refuses_same_file": not again,
    }
    _run(file, said, _read_wish(at, no_start, watch_, as_json), agent=None)


def _read_wish(at: str | None, no_start: bool, watches: bool, as_json: bool) -> _Wish:
    if no_start and (at is not None or watches):
        raise InvalidRequest("Say either --no-start, or how it starts: --at TIME, --watch.")
    if as_json and watches:
        raise InvalidRequest("Say either --json or --watch.")
    when = None if at is None else values.read_time(at)
    return _Wish(starts=not no_start, at=when, watches=watches, as_json=as_json)


def _run(file: str, said: Mapping[str, object], wish: _Wish, *, agent: str | None) -> None:
    with sending.list_file(file) as sent:
        try:
            report, batch = remote.ask(lambda client: _begin(client, sent, said, wish, agent=agent))
        except InvalidRequest as error:
            if error.code != SAME_FILE:
                raise
            raise InvalidRequest(f"{error.message} Say --again to upload it once more.") from error
    if wish.as_json:
        told = {"report": report.model_dump(mode="json"), "batch": batch.model_dump(mode="json")}
        tables.print_json(told)
    else:
        sending.show_report(report, name=sent.file.name)
        _tell(batch, report)
    if report.accepted == 0:
        raise typer.Exit(exit_codes.NOT_SO)
    if wish.watches:
        watch.follow(batch.id)


async def _begin(
    client: Client, sent: Sending, said: Mapping[str, object], wish: _Wish, *, agent: str | None
) -> tuple[Report, Batch]:
    """Upload, then start or schedule where a row was taken."""
    if agent is not None:
        said = {**said, "agent_id": await choosing.find_agent(client, agent)}
    async with sent.followed(client) as file:
        report = await client.create_batch(file, key=None, **said)
    if report.accepted == 0 or not wish.starts:
        return report, await client.batch(report.batch_id)
    if wish.at is not None:
        at = wish.at.isoformat()
        return report, await client.change_batch(report.batch_id, scheduled_at=at)
    return report, await client.steer(report.batch_id, "dispatch")


def _tell(batch: Batch, report: Report) -> None:
    typer.echo(f"Batch {batch.id}")
    items = choosing.count(report.accepted, batch.kind)
    if report.accepted == 0:
        typer.echo("Nothing was started: no row was taken.")
    elif batch.state == "open":
        typer.echo(f"Not started. To start {items}: batchyard start {batch.id}")
    elif batch.state == "scheduled":
        typer.echo(f"{items} to start {tables.show_time(batch.scheduled_at)}.")
    else:
        typer.echo(f"{items} started. Follow it: batchyard watch {batch.id}")
