"""A Karrio server that answers badly on purpose; run as a process of its own.

    python -m tests.providers.fakes.karrio

| request | what it does |
| --- | --- |
| anything of Karrio | as Karrio, unless a fault is due |
| GET /control | purchases and drafts by key, what broke the specification, what arrived |
| PUT /control | sets due faults, by step, in order; `mangles` the request id; `releases` the late |
| DELETE /control | forgets everything |
"""

import argparse
import asyncio
import signal
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate
from random import Random

import orjson

from batchyard.testing.server import Arrived, HttpServer, Line
from batchyard.testing.world import Served
from tests.providers.fakes.karrio_spec import KarrioSpec, find_spec
from tests.providers.fakes.karrio_state import KarrioState

MESSAGES: dict[str, tuple[int, dict[str, object]]] = {
    "carrier_refuses": (
        424,
        {"code": "111057", "message": "The postal code is not served.", "carrier_id": "post-nord"},
    ),
    "field_error": (
        424,
        {
            "code": "SHIPPING_SDK_FIELD_ERROR",
            "message": "Invalid request payload",
            "details": {"shipper.postal_code": {"code": "required", "message": "is required"}},
        },
    ),
    "sdk_fault": (424, {"code": "SHIPPING_SDK_INTERNAL_ERROR", "message": "timed out"}),
    "carrier_down": (424, {"code": "503", "message": "Service Unavailable"}),
    "no_code": (424, {"message": "something"}),
}
"""Answers about carriers, without any effect."""

ERRORS: dict[str, tuple[int, dict[str, object]]] = {
    "busy": (429, {"code": "throttled", "message": "Request was throttled."}),
    "denied": (401, {"code": "invalid_token", "message": "Given token not valid"}),
    "forbidden": (403, {"code": "permission_denied", "message": "Not allowed"}),
    "gone": (404, {"code": "not_found", "message": "Shipment not found"}),
    "invalid": (400, {"code": "validation", "message": "reference: too long"}),
    "early_invalid": (400, {"code": "validation_error", "message": "Either must be provided."}),
    "broken": (500, {"code": "error", "message": "list index out of range"}),
    "conflict": (409, {"code": "state_error", "message": "cannot be updated"}),
}
"""Answers of Karrio itself, without any effect."""

PAGES = {"bad_gateway": 502, "unavailable": 503, "gateway_timeout": 504}
"""What a proxy in front of it answers."""


@dataclass(kw_only=True)
class Books:
    """What was asked for and what went wrong; only ever added to."""

    arrivals: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    spoiled: dict[str, list[str]] = field(default_factory=dict)
    """Faults of purchases, by key."""
    held: int = 0
    """Answers that are kept back now."""


class FakeKarrio:
    """Serves one run."""

    def __init__(self, *, slow_seconds: float | None = None) -> None:
        self._slow_seconds = slow_seconds
        file = find_spec()
        self._spec = KarrioSpec(file) if file is not None else None
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.state = KarrioState()
        self.books = Books()
        self.due: dict[str, list[str]] = {}
        self.rates: dict[str, dict[str, float]] = {}
        self._dice = Random("karrio")
        self._is_released = asyncio.Event()

    async def handle(self, arrived: Arrived, line: Line) -> None:
        """Serve one request."""
        if arrived.path == "/control":
            await self._control(arrived, line)
            return
        step = _step_of(arrived)
        self.books.arrivals[step] += 1
        if self._spec is not None:
            self._note(self._spec.fault_of_request(arrived.method, arrived.path, arrived.body))
        fault = self._fault(step)
        self.books.faults[fault or "none"] += 1
        if fault is not None and step == "purchase":
            self.books.spoiled.setdefault(self._key_of(arrived), []).append(fault)
        if fault is None:
            await self._reply(arrived, line, self.state.serve(arrived))
        else:
            await self._spoil(arrived, line, step, fault)

    async def _spoil(self, arrived: Arrived, line: Line, step: str, fault: str) -> None:
        """Answer badly: before any effect, or after it."""
        if fault in MESSAGES:
            status, message = MESSAGES[fault]
            await self._say(arrived, line, status, {"messages": [message]})
        elif fault in ERRORS:
            status, error = ERRORS[fault]
            await self._say(arrived, line, status, {"errors": [error]})
        elif fault == "reset_before":
            line.reset()
        elif fault == "unreached":
            await line.reply(502, b"<html>Bad Gateway</html>")
        elif fault == "filtered":
            await line.reply(403, b"<html>Request blocked</html>")
        elif fault == "hang_before":
            await line.hang()
        elif fault == "late":
            # Where the client has hung up meanwhile, the carrier says yes all the same.
            await self._be_late()
            await self._reply(arrived, line, self.state.serve(arrived))
        else:
            await self._spoil_after(arrived, line, step, fault)

    async def _be_late(self) -> None:
        if self._slow_seconds is None:
            await self._is_released.wait()
        else:
            await asyncio.sleep(self._slow_seconds)

    async def _spoil_after(self, arrived: Arrived, line: Line, step: str, fault: str) -> None:
        if fault.startswith("half_") and step == "purchase":
            self.state.buy(arrived.path.split("/")[3], arrived, is_recorded=False)
            served = Served()
        else:
            served = self.state.serve(arrived)
        name = fault.removesuffix("_after")
        plain = name.removeprefix("half_")
        if name in PAGES:
            await line.reply(PAGES[name], b"<html>Gateway</html>")
        elif plain in MESSAGES:
            status, message = MESSAGES[plain]
            await self._say(arrived, line, status, {"messages": [message]})
        elif plain in ERRORS:
            status, error = ERRORS[plain]
            await self._say(arrived, line, status, {"errors": [error]})
        elif name == "papers":
            bought = self.state.with_papers(arrived.path.split("/")[3])
            await self._say(arrived, line, 200, bought)
        elif name == "no_label":
            bought = self.state.purchased(arrived.path.split("/")[3], with_label=False)
            await self._say(arrived, line, 200, bought)
        else:
            await self._break_off(line, name, served)

    async def _break_off(self, line: Line, name: str, served: Served) -> None:
        match name:
            case "reset":
                line.reset()
            case "hang":
                await line.hang()
            case "hold":
                self.books.held += 1
                await line.hang()
            case "garbage":
                await line.reply(200, b"<html>Welcome</html>")
            case "cut":
                await line.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + served.body)
                line.close()
            case _:
                raise LookupError(name)

    async def _say(self, arrived: Arrived, line: Line, status: int, body: object) -> None:
        headers = {"X-Request-ID": self.state.request_id(arrived), "X-Test-Mode": "True"}
        if status == 429:
            headers["Retry-After"] = "1"
        await self._reply(
            arrived, line, Served(status=status, body=orjson.dumps(body), headers=headers)
        )

    async def _reply(self, arrived: Arrived, line: Line, served: Served) -> None:
        if self._spec is not None:
            self._note(
                self._spec.fault_of_answer(arrived.method, arrived.path, served.status, served.body)
            )
        dated = {"Date": formatdate(usegmt=True), **served.headers}
        await line.reply(served.status, served.body, headers=dated)

    def _note(self, violation: str | None) -> None:
        if violation is not None:
            self.books.violations.append(violation)

    def _key_of(self, arrived: Arrived) -> str:
        """Return the key whose draft is to be bought."""
        shipment = self.state.shipments.get(arrived.path.split("/")[3], {})
        return str(shipment.get("metadata", {}).get("batchyard_key", ""))

    def _fault(self, step: str) -> str | None:
        if self.due.get(step):
            return self.due[step].pop(0)
        chance = self._dice.random()
        for name, rate in self.rates.get(step, {}).items():
            chance -= rate
            if chance < 0:
                return name
        return None

    async def _control(self, arrived: Arrived, line: Line) -> None:
        match arrived.method:
            case "PUT":
                given = orjson.loads(arrived.body)
                self.due |= given.get("due", {})
                self.rates |= given.get("rates", {})
                if given.get("unmarks"):
                    for shipment in self.state.shipments.values():
                        shipment |= {"metadata": {}, "meta": {}}
                if given.get("releases"):
                    self._is_released.set()
                self.state.echoes = not given.get("mangles", not self.state.echoes)
            case "DELETE":
                self.forget()
        told = {
            "purchases": dict(self.state.purchases),
            "drafts": dict(self.state.drafts),
            "statuses": {key: one["status"] for key, one in self.state.shipments.items()},
            "violations": self.books.violations,
            "is_checked": self._spec is not None,
            "arrivals": dict(self.books.arrivals),
            "faults": dict(self.books.faults),
            "spoiled": self.books.spoiled,
            "held": self.books.held,
        }
        await line.reply(200, orjson.dumps(told))


def _step_of(arrived: Arrived) -> str:
    """Return what a request is for: draft, purchase, read, search, document, other."""
    path = arrived.path.partition("?")[0]
    match arrived.method, path.strip("/").split("/")[1:]:
        case "POST", ["shipments"]:
            return "draft"
        case "POST", ["shipments", _, "purchase"]:
            return "purchase"
        case "POST", ["shipments", _, "documents", _]:
            return "document"
        case "POST", ["shipments", _, "cancel"]:
            return "cancel"
        case "GET", ["shipments", _]:
            return "read"
        case "GET", ["shipments"]:
            return "search"
    return "other"


async def serve(port: int, *, slow_seconds: float | None) -> None:
    """Serve until SIGTERM."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with HttpServer(FakeKarrio(slow_seconds=slow_seconds).handle, port=port) as server:
        print(orjson.dumps({"url": server.url}).decode(), flush=True)  # noqa: T201
        await ended.wait()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="A Karrio server that answers badly on purpose.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--slow", type=float, help="how late `late` is; without it, until that is released"
    )
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, slow_seconds=arguments.slow))


if __name__ == "__main__":
    main()
