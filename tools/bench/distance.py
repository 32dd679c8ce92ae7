"""Row: eight workers on one batch, two milliseconds away from their database, and beside it."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg

from tools.bench import yard
from tools.bench.crew import Work, drain, running
from tools.bench.figures import Line, Rates, Scale
from tools.bench.proxy import SOCKET_NAME

ITEMS = 50_000
WORKERS = 8
SECONDS = 0.002
GOAL = 0.5


def measure(scale: Scale) -> Iterator[Line]:
    """Take turns: near, far."""
    work, rates = Work(items=scale.of(ITEMS)), Rates()
    with yard.postgres() as url, _far_from(url) as far:
        deadlocks = _deadlocks(url)
        for _ in range(scale.rounds):
            for name, through in (("near", None), ("far", far)):
                rates.add(name, drain(url, work, count=WORKERS, through=through))
                yard.empty(url)
        surfaced = _deadlocks(url) - deadlocks
    ratio = rates.ratio("far", to="near")
    yield Line(
        title=f"{work.items:,} items of one batch, {WORKERS} workers, "
        f"{SECONDS * 1000:.0f} ms to PostgreSQL and back",
        figures=f"{rates.spread('far')}; beside it {rates.spread('near')}; "
        f"{surfaced} deadlocks in PostgreSQL, none fatal",
        ratio=f"{ratio:.2f} of the rate beside it",
        goal=f"≥ {GOAL}",
        is_met=ratio >= GOAL,
        numbers={**rates.all(), "deadlocks": surfaced},
    )


@contextmanager
def _far_from(url: str) -> Iterator[str]:
    """Lend the URL of the same database at the end of a longer line."""
    (folder,) = parse_qs(urlsplit(url).query)["host"]
    with tempfile.TemporaryDirectory(
        prefix="bench-far-", dir="/tmp"
    ) as near:  # sockets need short paths
        command = ["tools.bench.proxy", "--server", f"{folder}/{SOCKET_NAME}"]
        command += ["--folder", near, "--seconds", str(SECONDS)]
        with running(command) as crew:
            while not (Path(near) / SOCKET_NAME).exists():
                crew.check()
                time.sleep(yard.LOOK_SECONDS)
            yield url.replace(urlsplit(url).query, f"host={near}")


def _deadlocks(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    return int(row[0]) if row else 0
