"""Starts the counting server as a process of its own, and reads its books."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import orjson

ROOT = Path(__file__).resolve().parents[2]


class Judge:
    """A running counting server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def summary(self) -> dict[str, int]:
        """Return the counts, without the rates."""
        told: dict[str, int] = orjson.loads(httpx.get(f"{self.url}/control").content)
        return told

    def faults(self) -> Mapping[str, int]:
        """Return how often each fault happened."""
        told: Mapping[str, int] = orjson.loads(httpx.get(f"{self.url}/control").content)["faults"]
        return told

    def per_item(self) -> dict[str, int]:
        """Return how often each item was done."""
        told: dict[str, int] = orjson.loads(httpx.get(f"{self.url}/control/items").content)
        return told

    def change(self, **rates: object) -> None:
        """Change what happens from now on."""
        httpx.put(f"{self.url}/control", content=orjson.dumps(rates)).raise_for_status()


@contextmanager
def counting(**plan: object) -> Iterator[Judge]:
    """Lend a counting server that follows this plan."""
    command = [sys.executable, "-m", "tests.providers.counting_server", "--plan"]
    with subprocess.Popen(
        [*command, orjson.dumps(plan).decode()], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            yield Judge(orjson.loads(process.stdout.readline())["url"])
        finally:
            process.terminate()
