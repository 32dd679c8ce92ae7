"""The judge: an HTTP server that counts what is done to each item, and answers badly on purpose.

Run it as a program of its own; it says where it listens in one line of JSON:

    python -m tests.providers.counting_server --seed 7

| request | what it does |
| --- | --- |
| POST /do | the effect, by the protocol of the http provider |
| GET /results/KEY | what became of a key |
| GET /control | the counts and the rates |
| GET /control/items | how often each item was done |
| PUT /control | sets rates and the like: any field of `Plan` |

What happens to a request is decided by seed, key and how often the key has arrived, so a run can be
repeated. An effect is counted before anything is answered.
"""

import argparse
import asyncio
import signal
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from random import Random

import httpx
import orjson

from batchyard.testing.server import Arrived, HttpServer, Line

FINAL_WORDS = {"call": "completed", "shipment": "booked"}
LIVE_WORDS = {"call": "ringing", "shipment": "processing"}
CALLBACK_TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How often what happens; rates lie between 0 and 1, and those of a group add up to at most 1.

    A key that arrives again is answered well from its `faults_per_key`-th arrival on.
    """

    seed: str = "0"
    honours_keys: bool = True
    """Whether a repeated key has no second effect."""
    busy: float = 0
    """429 before the effect."""
    refuse: float = 0
    """409 before the effect."""
    closed: float = 0
    """Closed without an answer, before the effect."""
    bad_gateway: float = 0
    """502 after the effect."""
    reset: float = 0
    hang: float = 0
    garbage: float = 0
    """HTML with status 200 after the effect."""
    slow: float = 0
    slow_seconds: float = 0.5
    faults_per_key: int = 2
    accept: float = 0
    """202, and the end by callback. Its own group, as those below."""
    callback_seconds: float = 0.2
    callback_lost: float = 0
    callback_doubled: float = 0
    """Told twice, the second time after the end."""
    callback_early: float = 0
    """Told before the 202 is answered."""


FAULTS_BEFORE = ("busy", "refuse", "closed")
FAULTS_AFTER = ("bad_gateway", "reset", "hang", "garbage", "slow")


@dataclass(kw_only=True)
class Books:
    """What was done; only ever added to."""

    per_key: Counter[str] = field(default_factory=Counter)
    per_item: Counter[str] = field(default_factory=Counter)
    arrivals: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    callbacks: Counter[str] = field(default_factory=Counter)
    answers: dict[str, bytes] = field(default_factory=dict)
    """The end of each key, once it has ended."""
    live: dict[str, bytes] = field(default_factory=dict)
    """What is told of a key until then."""

    def summary(self) -> dict[str, object]:
        """Return what a judge wants to know."""
        return {
            "requests": self.arrivals.total(),
            "effects": self.per_item.total(),
            "keys": len(self.per_key),
            "items": len(self.per_item),
            "keys_done_twice": sum(1 for n in self.per_key.values() if n > 1),
            "items_done_twice": sum(1 for n in self.per_item.values() if n > 1),
            "faults": dict(self.faults),
            "callbacks": dict(self.callbacks),
        }


class CountingServer:
    """Serves one run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.books = Books()
        self._client = httpx.AsyncClient(timeout=5, trust_env=False)
        self._tasks: set[asyncio.Task[None]] = set()

    async def handle(self, arrived: Arrived, line: Line) -> None:
        """Serve one request."""
        match arrived.method, arrived.path:
            case "POST", "/do":
                await self._do(arrived, line)
            case "GET", "/control":
                told = self.books.summary() | {"plan": asdict(self.plan)}
                await line.reply(200, orjson.dumps(told))
            case "GET", "/control/items":
                await line.reply(200, orjson.dumps(dict(self.books.per_item)))
            case "PUT", "/control":
                await self._change(arrived, line)
            case "GET", path if path.startswith("/results/"):
                await self._tell(path.removeprefix("/results/"), line)
            case _:
                await line.reply(404)

    async def close(self) -> None:
        """Break off what is still to be told."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    async def _do(self, arrived: Arrived, line: Line) -> None:
        key = arrived.headers["idempotency-key"]
        order = orjson.loads(arrived.body)
        self.books.arrivals[key] += 1
        arrival = self.books.arrivals[key]
        fault = self._fault(key, arrival) if arrival <= self.plan.faults_per_key else None
        self.books.faults[fault or "none"] += 1
        match fault:
            case "busy":
                await line.reply(429, headers={"Retry-After": "1"})
            case "refuse":
                await line.reply(409)
            case "closed":
                line.close()
            case _:
                status, body = await self._act(key, order)
                await self._answer(fault, status, body, line)

    async def _act(self, key: str, order: dict[str, str]) -> tuple[int, bytes]:
        """Have the effect, unless the key had it and keys are honoured; return the answer."""
        is_first = key not in self.books.per_key
        if is_first or not self.plan.honours_keys:
            self.books.per_key[key] += 1
            self.books.per_item[order["item"]] += 1
        if is_first:
            await self._begin(key, order)
        if key in self.books.answers:
            return 200, self.books.answers[key]
        return 202, self.books.live[key]

    async def _begin(self, key: str, order: dict[str, str]) -> None:
        end: dict[str, object] = {"status": FINAL_WORDS[order["kind"]], "reference": f"ref-{key}"}
        if order["kind"] == "shipment":
            end |= {"result": {"parcels": [{"tracking_code": f"T{key}"}], "price_minor": 100}}
        ending = orjson.dumps(end)
        if not self._happens("accept", key):
            self.books.answers[key] = ending
            return
        word = LIVE_WORDS[order["kind"]]
        self.books.live[key] = orjson.dumps({"status": word, "reference": f"ref-{key}"})
        url = order["callback_url"]
        if self._happens("callback_early", key):
            self.books.answers[key] = ending
            await self._call_back(url, ending)
            return
        self._spawn(self._end_later(key, url, ending))

    async def _end_later(self, key: str, url: str, ending: bytes) -> None:
        await asyncio.sleep(self.plan.callback_seconds)
        self.books.answers[key] = ending
        if self._happens("callback_lost", key):
            self.books.callbacks["lost"] += 1
            return
        await self._call_back(url, self.books.live[key])
        await self._call_back(url, ending)
        if self._happens("callback_doubled", key):
            await self._call_back(url, self.books.live[key])
            await self._call_back(url, ending)

    async def _call_back(self, url: str, body: bytes) -> None:
        for _ in range(CALLBACK_TRIES):
            with suppress(httpx.HTTPError):
                answer = await self._client.post(url, content=body)
                self.books.callbacks[str(answer.status_code)] += 1
                if answer.status_code < 500:
                    return
            await asyncio.sleep(0.5)
        self.books.callbacks["given_up"] += 1

    async def _answer(self, fault: str | None, status: int, body: bytes, line: Line) -> None:
        match fault:
            case "bad_gateway":
                await line.reply(502, b"<html>Bad Gateway</html>")
            case "reset":
                line.reset()
            case "hang":
                await line.hang()
            case "garbage":
                await line.reply(200, b"<html>Welcome</html>")
            case "slow":
                await asyncio.sleep(self.plan.slow_seconds)
                await line.reply(status, body)
            case _:
                await line.reply(status, body)

    async def _tell(self, key: str, line: Line) -> None:
        if key in self.books.answers:
            await line.reply(200, self.books.answers[key])
        elif key in self.books.live:
            await line.reply(202, self.books.live[key])
        else:
            await line.reply(404)

    async def _change(self, arrived: Arrived, line: Line) -> None:
        changes = orjson.loads(arrived.body)
        if unknown := set(changes) - {one.name for one in fields(Plan)}:
            await line.reply(422, orjson.dumps({"unknown": sorted(unknown)}))
            return
        self.plan = replace(self.plan, **changes)
        await line.reply(200, orjson.dumps(asdict(self.plan)))

    def _fault(self, key: str, arrival: int) -> str | None:
        chance = Random(f"{self.plan.seed}/{key}/{arrival}").random()
        for name in (*FAULTS_BEFORE, *FAULTS_AFTER):
            chance -= getattr(self.plan, name)
            if chance < 0:
                return name
        return None

    def _happens(self, name: str, key: str) -> bool:
        chance = Random(f"{self.plan.seed}/{name}/{key}").random()
        return bool(chance < getattr(self.plan, name))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def serve(plan: Plan, *, port: int) -> None:
    """Serve until SIGTERM."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    judge = CountingServer(plan)
    async with HttpServer(judge.handle, port=port) as server:
        print(orjson.dumps({"url": server.url}).decode(), flush=True)  # noqa: T201
        await ended.wait()
        await judge.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="Counts what is done to each item.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--plan", default="{}", help="JSON: fields of Plan")
    parser.add_argument("--seed", default="0")
    given = parser.parse_args()
    plan = replace(Plan(seed=given.seed), **orjson.loads(given.plan))
    asyncio.run(serve(plan, port=given.port))


if __name__ == "__main__":
    main()
