"""Starts a fake as a process of its own, and reads its books."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson

ROOT = Path(__file__).resolve().parents[3]
PATIENT_SECONDS = 30


class Fake:
    """A running fake."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(trust_env=False, timeout=PATIENT_SECONDS)

    def ledger(self) -> Mapping[str, object]:
        """Return everything it did."""
        told: Mapping[str, object] = orjson.loads(self._client.get(f"{self.url}/ledger").content)
        return told

    def per_item(self) -> dict[str, int]:
        """Return how many calls were placed for each item."""
        told = self.ledger()["items"]
        assert isinstance(told, dict)
        return told

    def violations(self) -> list[str]:
        """Return where the vendor's specification was broken."""
        told = self.ledger()["violations"]
        assert isinstance(told, list)
        return told

    def asked(self) -> list[Any]:
        """Return the bodies of the latest requests for a call."""
        told = self.ledger()["asked"]
        assert isinstance(told, list)
        return told

    def change(self, **plan: object) -> None:
        """Change what happens from now on, and forget what happened."""
        self._put("/plan", plan)

    def order(self, *faults: str) -> None:
        """Let the next requests meet these faults."""
        self._put("/order", list(faults))

    def release(self) -> None:
        """Let calls of Twilio that wait in its queue be dialled now, and prices be known."""
        self._put("/release", None)

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def _put(self, path: str, body: object) -> None:
        self._client.put(f"{self.url}{path}", content=orjson.dumps(body)).raise_for_status()


@contextmanager
def running(name: str, *options: str) -> Iterator[Fake]:
    """Lend a fake: `twilio` or `telnyx`."""
    command = [sys.executable, "-m", f"tests.providers.fakes.{name}", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            fake = Fake(orjson.loads(process.stdout.readline())["url"])
            try:
                yield fake
            finally:
                fake.close()
        finally:
            process.terminate()
