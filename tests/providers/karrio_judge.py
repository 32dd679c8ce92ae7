"""Starts the fake Karrio server as a process of its own, and reads its books."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson

ROOT = Path(__file__).resolve().parents[2]
PATIENT_SECONDS = 30


class KarrioJudge:
    """A running fake; the count of purchases is its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def books(self) -> dict[str, Any]:
        """Return everything it knows."""
        told: dict[str, Any] = orjson.loads(self._call("GET").content)
        return told

    def purchases(self) -> Mapping[str, int]:
        """Return how often a carrier said yes, by key."""
        bought: Mapping[str, int] = self.books()["purchases"]
        return bought

    def spoil(self, step: str, *faults: str) -> None:
        """Answer the next requests of a step with these faults, in order."""
        self._call("PUT", {"due": {step: list(faults)}})

    def spoil_some(self, step: str, **rates: float) -> None:
        """Answer so many of a step's requests with these faults."""
        self._call("PUT", {"rates": {step: rates}})

    def mangle_request_ids(self) -> None:
        """Let a proxy change the request ids on their way."""
        self._call("PUT", {"mangles": True})

    def take_marks_away(self) -> None:
        """Let somebody at Karrio take metadata and request ids away from every shipment."""
        self._call("PUT", {"unmarks": True})

    def release(self) -> None:
        """Let what is `late` happen now."""
        self._call("PUT", {"releases": True})

    def forget(self) -> None:
        """Begin anew."""
        self._call("DELETE")

    def _call(self, method: str, body: object = None) -> httpx.Response:
        content = None if body is None else orjson.dumps(body)
        answer = httpx.request(
            method,
            f"{self.url}/control",
            content=content,
            trust_env=False,
            timeout=PATIENT_SECONDS,
        )
        return answer.raise_for_status()


@contextmanager
def faking(*, arguments: Sequence[str] = ()) -> Iterator[KarrioJudge]:
    """Lend a fake Karrio server."""
    command = [sys.executable, "-m", "tests.providers.fakes.karrio", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield KarrioJudge(orjson.loads(process.stdout.readline())["url"])
        finally:
            process.terminate()
