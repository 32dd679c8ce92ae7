"""The outside world as a process of its own: does what it is asked, counts it, and misbehaves."""

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

import httpx

from batchyard.testing import Arrived, HttpServer, Line

FAULTS = {
    "429 before": 0.02,
    "reset before": 0.02,
    "502 before": 0.01,
    "502 after": 0.03,
    "reset after": 0.03,
    "hang after": 0.02,
    "unreadable after": 0.02,
    "late effect": 0.01,
}
"""How often a request meets a fault, before or after its effect."""

ACCEPTED = 0.4
"""How many requests are answered by 202, and later by callback."""

CALLBACK_FAULTS = {"lost": 0.06, "doubled": 0.12, "early": 0.15, "progress": 0.15}
UNDECIDED = 0.05
"""How often a look-up answers 503."""

STATUSES = {
    "shipment": (("booked", 0.92), ("failed", 0.08)),
    "call": (("completed", 0.7), ("busy", 0.15), ("no-answer", 0.1), ("failed", 0.05)),
}
LONGEST_ANSWER_SECONDS = 1.5
"""With a longer timeout a machine that stands still for seconds loses no answer by that."""
CALLBACK_PATIENCE_SECONDS = 1800.0
"""A provider tries for hours; one that gives up leaves what nobody can ask for an hour's wait."""
CALLBACKS_AT_ONCE = 32
"""More would wait inside the client, whose pool looks at each one that waits whenever one ends."""


@dataclass(kw_only=True, slots=True)
class Deed:
    """What is known of one idempotency key."""

    item: str
    policy: str
    kind: str
    effects: int = 0
    requests: int = 0
    status: str | None = None
    """How it ended; None as long as nothing was done."""
    is_working: bool = False
    """A request with this key is being worked on, so another must wait."""
    is_told: bool = False
    """Its end may be asked for; before, it is still being processed."""
    faults: list[str] = field(default_factory=list)


class World:
    """Every deed, and what went wrong around it."""

    def __init__(self, *, seed: int, timeout_seconds: float, settle_seconds: float) -> None:
        self._dice = random.Random(seed)
        self._timeout = timeout_seconds
        self._settle = settle_seconds
        self._deeds: dict[str, Deed] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._callbacks: Counter[str] = Counter()
        self._client = httpx.AsyncClient(timeout=20)
        self._calling = asyncio.Semaphore(CALLBACKS_AT_ONCE)

    async def handle(self, arrived: Arrived, line: Line) -> None:
        """Serve one request."""
        parts = arrived.path.strip("/").split("/")
        match arrived.method, parts:
            case "POST", [policy, "do"]:
                await self._do(policy, arrived, line)
            case "GET", ["results", key]:
                await self._tell(key, line)
            case "GET", ["ledger"]:
                deeds = {key: asdict(deed) for key, deed in self._deeds.items()}
                ledger = {"deeds": deeds, "callbacks": self._callbacks}
                await line.reply(200, json.dumps(ledger).encode())
            case _:
                await line.reply(404, b"{}")

    async def _do(self, policy: str, arrived: Arrived, line: Line) -> None:
        arrived_at = time.monotonic()
        body = json.loads(arrived.body)
        key = arrived.headers["idempotency-key"]
        deed = self._deeds.setdefault(
            key, Deed(item=body["item"], policy=policy, kind=body["kind"])
        )
        deed.requests += 1
        fault = self._draw(FAULTS)
        if fault is not None:
            deed.faults.append(fault)
        if fault != "late effect":
            longest = min(self._timeout * 0.6, LONGEST_ANSWER_SECONDS)
            await asyncio.sleep(self._dice.uniform(0.05, longest))
        if fault == "429 before":
            await line.reply(429, b"{}")
            return
        if fault == "502 before":
            await line.reply(502, b"Bad gateway")
            return
        if fault == "reset before":
            line.reset()
            return
        if deed.is_working:
            await line.reply(409, b"{}")
            return
        is_repeated = policy == "repeatable" and deed.status is not None
        if not is_repeated:
            deed.is_working = policy == "repeatable"
            if fault == "late effect":
                await asyncio.sleep(self._timeout + self._settle * 0.9)
            deed.is_working = False
            if time.monotonic() - arrived_at > self._timeout + self._settle:
                # This process stood still. By now whoever asks is told that nothing was done.
                deed.faults.append("too late")
                line.reset()
                return
            deed.effects += 1
            deed.status = deed.status or self._end_of(deed.kind)
        await self._answer(deed, fault, body["callback_url"], line)

    async def _answer(self, deed: Deed, fault: str | None, callback: str, line: Line) -> None:
        is_accepted = not deed.is_told and self._dice.random() < ACCEPTED
        if is_accepted:
            about = self._draw(CALLBACK_FAULTS)
            if about == "lost" and deed.policy == "neither":
                # Who can neither ask nor be called waits an hour; too long for a test.
                about = None
            await self._promise(deed, callback, about)
        else:
            deed.is_told = True
        match fault:
            case "502 after":
                await line.reply(502, b"Bad gateway")
            case "reset after":
                line.reset()
            case "hang after":
                await asyncio.sleep(self._timeout + 1)
                line.reset()
            case "unreadable after":
                await line.reply(200, b"<html>Welcome</html>")
            case _ if is_accepted:
                await line.reply(202, b'{"reference": "r-1"}')
            case _:
                await line.reply(200, _ending(deed))

    async def _promise(self, deed: Deed, callback: str, about: str | None) -> None:
        if about is not None:
            deed.faults.append(f"callback {about}")
        if about == "early":
            task = self._begin(deed, callback, delay=0, times=1)
            await asyncio.wait([task], timeout=self._timeout / 2)
            return
        delay = self._dice.uniform(0.05, 1.0)
        if about == "progress":
            word = "ringing" if deed.kind == "call" else "processing"
            news = json.dumps({"status": word}).encode()
            _ = self._begin(deed, callback, delay=delay / 2, times=1, news=news)
        _ = self._begin(
            deed, callback, delay=delay, times={"lost": 0, "doubled": 2}.get(about or "", 1)
        )

    def _begin(
        self, deed: Deed, url: str, *, delay: float, times: int, news: bytes | None = None
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(self._call_back(deed, url, delay=delay, times=times, news=news))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
        return task

    async def _call_back(
        self, deed: Deed, url: str, *, delay: float, times: int, news: bytes | None
    ) -> None:
        """Tell Batchyard, as often as it takes until it answers."""
        await asyncio.sleep(delay)
        if news is None:
            deed.is_told = True
        async with asyncio.TaskGroup() as tasks:
            for _ in range(times):
                tasks.create_task(self._post(url, news or _ending(deed)))

    async def _post(self, url: str, body: bytes) -> None:
        for _ in range(int(CALLBACK_PATIENCE_SECONDS)):
            try:
                async with self._calling:
                    response = await self._client.post(url, content=body)
            except httpx.HTTPError:
                self._callbacks["not delivered"] += 1
            else:
                self._callbacks[str(response.status_code)] += 1
                if response.status_code < 500:
                    return
            await asyncio.sleep(1)
        self._callbacks["given up"] += 1

    async def _tell(self, key: str, line: Line) -> None:
        deed = self._deeds.get(key)
        if self._dice.random() < UNDECIDED:
            await line.reply(503, b"{}")
        elif deed is None or deed.status is None:
            await line.reply(404, b"{}")
        elif deed.is_told:
            await line.reply(200, _ending(deed))
        else:
            await line.reply(202, b'{"reference": "r-1"}')

    def _end_of(self, kind: str) -> str:
        words, weights = zip(*STATUSES[kind], strict=True)
        return str(self._dice.choices(words, weights)[0])

    def _draw(self, chances: dict[str, float]) -> str | None:
        rest = 1 - sum(chances.values())
        return self._dice.choices([*chances, None], [*chances.values(), rest])[0]


def _ending(deed: Deed) -> bytes:
    ending: dict[str, object] = {"status": deed.status, "result": {}}
    if deed.status == "failed":
        ending["error"] = {"code": "refused", "message": "No such street."}
    return json.dumps(ending).encode()


async def _serve(arguments: argparse.Namespace) -> None:
    world = World(
        seed=arguments.seed,
        timeout_seconds=arguments.timeout,
        settle_seconds=arguments.settle,
    )
    async with HttpServer(world.handle, port=arguments.port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=2)
    parser.add_argument("--settle", type=float, default=1)
    asyncio.run(_serve(parser.parse_args()))
