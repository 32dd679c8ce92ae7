"""`batchyard report` and `mend`: which rows were refused, and how they come back corrected."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from batchyard.cli import (
    choosing,
    exit_codes,
    files,
    list_options,
    options,
    remote,
    sending,
    tables,
)
from batchyard.cli.choosing import BatchName
from batchyard.client import Client, RefusedRow, Report, RowReport
from batchyard.errors import InvalidRequest

FORMATS = ("csv", "xlsx", "json", "ndjson")


def report(
    batch: BatchName,
    *,
    code: Annotated[
        str | None, typer.Option(help="Only rows refused for this.", metavar="CODE")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000_000, help="So many rows at most.")] = 20,
    output: files.Output = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Of the file; that of the list unless said, or by the ending of FILE.",
            metavar="|".join(FORMATS),
        ),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Items that failed in the file, too.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Tell which rows were refused, why, and what to do.

    With --output the rows that need a person are written into a file, in their own columns; correct
    them there, then `batchyard mend BATCH FILE`. With --json the counts are one line, then each
    refused row is a line.
    """
    if output is not None:
        _write(batch, output, format_=_check_format(format_, output), failed=failed)
        return
    if format_ is not None or failed:
        raise InvalidRequest("--format and --failed are about a file: --output FILE.")
    batch_id, told, rows = remote.ask(lambda client: _read(client, batch, code=code, limit=limit))
    if as_json:
        tables.print_line({"batch_id": batch_id, **told.model_dump(mode="json", exclude={"data"})})
        for row in rows[:limit]:
            tables.print_line(row.model_dump(mode="json"))
        return
    _show(told)
    if rows:
        typer.echo()
        tables.print_table(
            ("line", "refused for", "what to do"),
            [(row.line, row.code, row.reason) for row in rows[:limit]],
        )
        if len(rows) > limit:
            typer.echo(f"There are more: --limit {limit * 10}", err=True)
        typer.echo(f"Correct them in a file: batchyard report {batch_id} --output FILE", err=True)


async def _read(
    client: Client, name: str, *, code: str | None, limit: int
) -> tuple[UUID, RowReport, list[RefusedRow]]:
    batch_id = await choosing.find_batch(client, name)
    told = await client.row_report(batch_id)
    rows: list[RefusedRow] = []
    async for row in client.refused_rows(batch_id, code=code):
        rows.append(row)
        if len(rows) > limit:
            break
    return batch_id, told, rows


def _show(told: RowReport) -> None:
    rows = [("rows", f"{told.rows:,}"), ("accepted", f"{told.accepted:,}")]
    rows.append(("refused", f"{told.refused:,}"))
    rows += [(f"  {code}", f"{n:,}") for code, n in sorted(told.refused_by_code.items())]
    if told.warned_by_code:
        rows.append(("remarks on accepted rows", ""))
        rows += [(f"  {code}", f"{n:,}") for code, n in sorted(told.warned_by_code.items())]
    tables.print_table(("", ""), rows)


def _write(batch: str, output: str, *, format_: str | None, failed: bool) -> None:
    async def write(client: Client) -> int:
        batch_id = await choosing.find_batch(client, batch)
        return await files.save(
            client,
            lambda here: here.mend_file(batch_id, format=format_, failed=failed),
            to=output,
        )

    if format_ == "xlsx" and output == files.STDOUT:
        files.check_terminal("A spreadsheet")
    remote.ask(write)
    if output != files.STDOUT:
        typer.echo(f"Correct the rows in {output}, then: batchyard mend {batch} {output}", err=True)


def _check_format(given: str | None, output: str) -> str | None:
    if given is None:
        ending = Path(output).suffix.removeprefix(".").lower()
        return ending if ending in FORMATS else None
    if given not in FORMATS:
        raise InvalidRequest(f"There is no format {given!r}. Known: {', '.join(FORMATS)}.")
    return given


def mend(
    batch: BatchName,
    file: Annotated[
        str,
        typer.Argument(
            help="The corrected file of `batchyard report`; - for standard input.",
            metavar="FILE",
            show_default=False,
        ),
    ],
    *,
    mapping: list_options.MappingName = None,
    map_: list_options.Map = None,
    sheet: list_options.Sheet = None,
    encoding: list_options.Encoding = None,
    as_json: options.Json = False,
) -> None:
    """Send corrected rows back into their batch.

    Each mends the row it came from. A batch that has ended runs again with them. Exit code 1 when
    no row was taken.
    """
    said: dict[str, object] = {
        "mapping": list_options.read_map(map_),
        "mapping_name": mapping,
        "sheet": sheet,
        "encoding": encoding,
    }

    with sending.list_file(file) as sent:

        async def send(client: Client) -> Report:
            batch_id = await choosing.find_batch(client, batch)
            async with sent.followed(client) as rows:
                return await client.mend(batch_id, rows, key=None, **said)

        told = remote.ask(send)
    if as_json:
        tables.print_json(told.model_dump(mode="json"))
    else:
        sending.show_report(told, name=sent.file.name)
    if told.accepted + told.corrected == 0:
        raise typer.Exit(exit_codes.NOT_SO)
