"""Files that come from the server: into a file whole or not at all, or to standard output."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from batchyard.client import Client, Download
from batchyard.errors import InvalidRequest

STDOUT = "-"

Lent = Callable[[Client], AbstractAsyncContextManager[Download]]

Output = Annotated[
    str | None,
    typer.Option("--output", "-o", help="Where to; - for standard output.", metavar="FILE"),
]


async def save(client: Client, lent: Lent, *, to: str) -> int:
    """Write a file as it comes in; return its size in bytes.

    What is cut off in the middle leaves the file that was there before. Raises `InvalidRequest`
    where it cannot be written.
    """
    with _target(to) as file:
        async with lent(client) as download:
            return await _copy(download, file)


def check_terminal(what: str) -> None:
    """Raise `InvalidRequest` where a terminal would be shown what is no text."""
    if sys.stdout.isatty():
        raise InvalidRequest(f"{what} is no text for a terminal. Say where to: --output FILE.")


@contextmanager
def _target(to: str) -> Iterator[BinaryIO]:
    """Lend what is written to; a file takes its name once it is whole."""
    if to == STDOUT:
        yield sys.stdout.buffer
        return
    path = Path(to)
    is_file = path.is_file() or not path.exists()
    part = path.with_name(f".{path.name}.{os.getpid()}.part") if is_file else path
    try:
        with part.open("wb") as file:
            yield file
        if is_file:
            part.replace(path)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        if is_file:
            part.unlink(missing_ok=True)


async def _copy(download: Download, to: BinaryIO) -> int:
    size = 0
    async for part in download.parts:
        to.write(part)
        size += len(part)
    to.flush()
    return size
