"""Stands between Batchyard and Karrio: counts purchases, and keeps one answer back."""

import asyncio
from collections import Counter

import httpx
import orjson

from batchyard.testing import Arrived, HttpServer, Line

PASSED = ("authorization", "content-type", "x-request-id", "accept", "user-agent")
GIVEN_BACK = ("content-type", "x-request-id", "x-test-mode", "retry-after")


class Relay:
    """Passes everything on."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx.AsyncClient(timeout=60, trust_env=False)
        self.purchases: Counter[str] = Counter()
        """Purchases that Karrio did, by our key."""
        self.holds_purchase = 0
        """Which purchase is answered by silence; 0 for none."""
        self.held = asyncio.Event()
        self.server = HttpServer(self._pass_on)

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()

    async def _pass_on(self, arrived: Arrived, line: Line) -> None:
        answer = await self._client.request(
            arrived.method,
            f"{self._url}{arrived.path}",
            content=arrived.body or None,
            headers={name: arrived.headers[name] for name in PASSED if name in arrived.headers},
        )
        if arrived.path.endswith("/purchase") and answer.is_success:
            self.purchases[orjson.loads(answer.content)["metadata"]["batchyard_key"]] += 1
            if self.purchases.total() == self.holds_purchase:
                self.held.set()
                await line.hang()
        headers = {name: answer.headers[name] for name in GIVEN_BACK if name in answer.headers}
        await line.reply(answer.status_code, answer.content, headers=headers)
