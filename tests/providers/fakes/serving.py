"""What every fake has: its plan and ledger over HTTP, and callbacks that are posted for it."""

import argparse
import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from email.utils import formatdate

import httpx

from batchyard.testing import Arrived, HttpServer, Line
from tests.providers.fakes.ledger import Deed, Ledger
from tests.providers.fakes.plan import Fate, Plan

FIRST_RETRY_SECONDS = 0.05
LAST_RETRY_SECONDS = 1.0


class Fake(ABC):
    """A vendor in small."""

    policy = "askable"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.fate = Fate(plan)
        self.ledger = Ledger(policy=self.policy)
        self._client = httpx.AsyncClient(timeout=10, trust_env=False)
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_released = asyncio.Event()
        """Set once what waits by the plan need wait no longer."""

    async def handle(self, arrived: Arrived, line: Line) -> None:
        """Serve one request."""
        match arrived.method, arrived.path:
            case "GET", "/ledger":
                await line.reply(200, json.dumps(self.ledger.tell()).encode())
            case "PUT", "/plan":
                await self._begin_anew(json.loads(arrived.body))
                await line.reply(204)
            case "PUT", "/order":
                self.fate.order(json.loads(arrived.body))
                await line.reply(204)
            case "PUT", "/release":
                self.is_released.set()
                await line.reply(204)
            case _:
                await self.serve(arrived, line)

    @abstractmethod
    async def serve(self, arrived: Arrived, line: Line) -> None:
        """Serve what the vendor serves."""

    @abstractmethod
    def forget(self) -> None:
        """Forget every call."""

    def begin(self, work: Coroutine[None, None, None]) -> None:
        """Let something go on beside the requests."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def spoil_before(self, fault: str | None, deed: Deed, line: Line) -> bool:
        """Let a request fail before its effect; False when it does not."""
        if fault is not None:
            deed.faults.append(fault)
        match fault:
            case "reset_before":
                line.reset()
            case "unavailable_before":
                await line.reply(503, b"upstream connect error")
            case "late":
                await asyncio.sleep(self.plan.late_seconds)
                return False
            case _:
                return False
        return True

    async def spoil_after(self, fault: str | None, error: bytes, line: Line) -> bool:
        """Let the answer fail after the effect; False when it does not."""
        match fault:
            case "error_after":
                await line.reply(500, error)
            case "gateway_after":
                await line.reply(502, b"<html><h1>502 Bad Gateway</h1></html>")
            case "reset_after":
                line.reset()
            case "hang_after":
                await line.hang()
            case _:
                return False
        return True

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Tell what happened; tried again, as the plan says, when nobody takes it."""
        pause = FIRST_RETRY_SECONDS
        for _ in range(1 + self.plan.callback_retries):
            try:
                response = await self._client.post(url, content=body, headers=dict(headers))
            except httpx.HTTPError:
                self.ledger.callbacks["not delivered"] += 1
            else:
                self.ledger.callbacks[str(response.status_code)] += 1
                if response.status_code < 500:
                    return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_RETRY_SECONDS)

    async def _begin_anew(self, changes: Mapping[str, object]) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.plan = Plan()
        self.plan.change(changes)
        self.fate = Fate(self.plan)
        self.ledger = Ledger(policy=self.policy)
        self.is_released = asyncio.Event()
        self.forget()


class Overheard:
    """The way back to whoever asked, with somebody listening."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.reset, self.hang = line.reset, line.hang
        self.status: int | None = None
        self.body = b""
        self.is_undescribed = False
        """The vendor describes no such answer."""

    async def reply(
        self, status: int, body: bytes = b"", *, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status, self.body = status, body
        dated = {"Date": formatdate(usegmt=True), **(headers or {})}
        await self._line.reply(status, body, headers=dated)


def run(make: type[Fake]) -> None:
    """Serve until killed; the first line printed says where."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--plan", default="{}")
    arguments = parser.parse_args()

    async def serve() -> None:
        plan = Plan()
        plan.change(json.loads(arguments.plan))
        async with HttpServer(make(plan).handle, port=arguments.port) as server:
            print(json.dumps({"url": server.url}), flush=True)  # noqa: T201  # how it says where
            await asyncio.Event().wait()

    asyncio.run(serve())
