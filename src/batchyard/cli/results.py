"""`batchyard results`: what came of a batch, as a file."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from batchyard.cli import choosing, files, options, remote, values
from batchyard.cli.choosing import BatchName
from batchyard.client import Client
from batchyard.client.batches import ResultFile
from batchyard.errors import InvalidRequest


class Format(StrEnum):
    """What results can be had as."""

    CSV = "csv"
    NDJSON = "ndjson"
    LABELS = "labels"
    EVIDENCE = "evidence"


FILES: dict[Format, ResultFile] = {
    Format.CSV: "results.csv",
    Format.NDJSON: "results.ndjson",
    Format.LABELS: "labels.pdf",
    Format.EVIDENCE: "evidence.zip",
}
BY_ENDING = {
    ".csv": Format.CSV,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".pdf": Format.LABELS,
    ".zip": Format.EVIDENCE,
}


def results(
    batch: BatchName,
    *,
    output: files.Output = None,
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format",
            parser=values.word_of(Format, what="format"),
            help="By the ending of FILE unless said; else CSV.",
            metavar="|".join(Format),
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write the results of a batch into a file.

    `csv` has a row for each item, made for spreadsheets; `ndjson` a line for each, with all
    attempts and the whole result; `labels` is one PDF of all booked shipments; `evidence` is a zip
    of everything there is of an ended batch, with the SHA-256 of each file. The ending of FILE
    chooses: .csv, .ndjson, .pdf, .zip. A file that is cut off on the way is not written at all.
    --json is `ndjson`.
    """
    if as_json and format_ not in {None, Format.NDJSON}:
        raise InvalidRequest("Say either --json or another --format.")
    chosen = Format.NDJSON if as_json else format_ or _by_ending(output)
    if output in {None, files.STDOUT} and chosen in {Format.LABELS, Format.EVIDENCE}:
        files.check_terminal(f"The file {FILES[chosen]}")

    async def write(client: Client) -> int:
        batch_id = await choosing.find_batch(client, batch)
        return await files.save(
            client, lambda here: here.results(batch_id, FILES[chosen]), to=output or files.STDOUT
        )

    size = remote.ask(write)
    if output not in {None, files.STDOUT}:
        typer.echo(f"{output}: {size:,} bytes.", err=True)


def _by_ending(output: str | None) -> Format:
    if output is None or output == files.STDOUT:
        return Format.CSV
    ending = Path(output).suffix.lower()
    if ending not in BY_ENDING:
        raise InvalidRequest(
            f"What {output} shall hold does not show: say --format, or let it end in "
            f"{', '.join(BY_ENDING)}."
        )
    return BY_ENDING[ending]
