"""The server as a process of its own, as users run it; and bare routes to compare it with."""

import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from batchyard.clock import monotonic
from tools.bench import yard
from tools.bench.crew import Crew, running

BATCHYARD = str(Path(sys.executable).with_name("batchyard"))
START_SECONDS = 60.0


@contextmanager
def serving(url: str) -> Iterator[tuple[int, int]]:
    """Run `batchyard serve` over a database; lend its port and its process."""
    with _listening([BATCHYARD, "serve"], {"BATCHYARD_DATABASE_URL": url}) as found:
        yield found


@contextmanager
def serving_private(data_dir: Path, token: str) -> Iterator[tuple[int, int]]:
    """Run `batchyard serve` with a PostgreSQL of its own in this folder."""
    command = [BATCHYARD, "serve", "--data-dir", str(data_dir)]
    with _listening(command, {"BATCHYARD_BOOTSTRAP_TOKEN": token}) as found:
        yield found


@contextmanager
def serving_bare(url: str) -> Iterator[tuple[int, int]]:
    """Run bare routes over a database."""
    with _listening(["tools.bench.bare", "--url", url], {}) as found:
        yield found


@contextmanager
def _listening(command: Sequence[str], settings: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    port = free_port()
    with running([*command, "--port", str(port)], settings=settings) as crew:
        wait_for(port, crew)
        yield port, crew.pids[0]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(port: int, crew: Crew) -> None:
    """Return once somebody of a crew listens; raise `RuntimeError` when it ends instead."""
    deadline = monotonic() + START_SECONDS
    while monotonic() < deadline:
        crew.check()
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(yard.LOOK_SECONDS)
    raise TimeoutError(f"nobody listens on port {port} after {START_SECONDS:.0f} s")
