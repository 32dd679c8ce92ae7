"""A Telnyx application in small: dials, takes commands, tells of them by webhook, and misbehaves.

`python -m tests.providers.fakes.telnyx --port N --plan JSON`. Its webhooks are signed by PyNaCl, as
the vendor's own library checks them.
"""

import asyncio
import base64
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from batchyard.testing import Arrived, Line
from tests.providers.fakes.plan import Plan
from tests.providers.fakes.serving import Fake, Overheard, run
from tests.providers.fakes.telnyx_legs import (
    API_KEY,
    CAUSES,
    CONNECTION,
    OTHER_KEY,
    OWNED,
    PAGE_SIZE,
    SIGNING_KEY,
    Leg,
    find_fault,
    ids,
    show,
    show_live,
    word,
)
from tests.providers.fakes.telnyx_types import judge_exchange, judge_webhook

CHANNELS_USED_UP = "channels_used_up"
"""403 because of the calls that live, maybe the very one that is asked for again; only ordered."""


class FakeTelnyx(Fake):
    """One application."""

    policy = "repeatable"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._legs: dict[str, Leg] = {}
        self._keys: dict[str, tuple[float, str]] = {}
        self._dials: list[float] = []

    def forget(self) -> None:
        self._legs, self._keys, self._dials = {}, {}, []

    async def serve(self, arrived: Arrived, line: Line) -> None:
        heard = Overheard(line)
        await self._serve(arrived, heard)  # type: ignore[arg-type]
        if not heard.is_undescribed:
            self.ledger.violations += judge_exchange(arrived, heard.status, heard.body)

    async def _serve(self, arrived: Arrived, line: Line) -> None:
        parts = urlsplit(arrived.path)
        path = parts.path.removeprefix("/v2").strip("/").split("/")
        self.ledger.requests[f"{arrived.method} {path[0]} {path[-1] if path[1:] else ''}"] += 1
        is_known = arrived.headers.get("authorization") == f"Bearer {API_KEY}"
        if self.plan.is_suspended or not is_known:
            await _refuse(line, 401, "10009", "Authentication failed")
            return
        match arrived.method, path:
            case "POST", ["calls"]:
                await self._create(json.loads(arrived.body), line)
            case "POST", ["calls", control_id, "actions", action]:
                await self._command(control_id, action, json.loads(arrived.body), line)
            case "GET", _:
                await self._read(path, dict(parse_qsl(parts.query)), line)
            case _:
                await _refuse(line, 404, "10005", "Resource not found")

    async def _create(self, body: Mapping[str, object], line: Line) -> None:
        if (fault := find_fault(body)) is not None:
            await _refuse(line, 422, *fault)
            return
        self.ledger.note(body)
        deed = self.ledger.deed(str(body["webhook_url"]))
        deed.requests += 1
        fault_name = self.fate.fault()
        if fault_name == "busy_before":
            await _refuse(line, 429, "10011", "Too many requests")
            return
        if fault_name == CHANNELS_USED_UP:
            line.is_undescribed = True  # type: ignore[attr-defined]
            await _refuse(line, 403, "90041", "Channel limit exceeded")
            return
        if self._is_too_fast():
            await _refuse(line, 429, "90103", "Dials per second limit exceeded")
            return
        if await self.spoil_before(fault_name, deed, line):
            return
        key = str(body.get("command_id", ""))
        known = self._keys.get(key)
        if key and known is not None and time.time() - known[0] < self.plan.key_seconds:
            # What is answered then is documented nowhere; here it names no call.
            line.is_undescribed = True  # type: ignore[attr-defined]
            await _answer(line, {"data": {"record_type": "call", "is_alive": False}})
            return
        leg = Leg(control_id=f"v3:{uuid4().hex}", deed=deed, body=body, created_at=time.time())
        self._keys[key] = (time.time(), leg.control_id)
        self._legs[leg.control_id] = leg
        deed.effects += 1
        about = self.fate.callback_fault(deed)
        if about == "early":
            await self._tell(leg, "call.initiated", state="parked", direction="outgoing")
        self.begin(self._dial(leg, about))
        if not await self.spoil_after(fault_name, _errors("10007", "Unexpected error"), line):
            await _answer(line, {"data": {**ids(leg), "is_alive": False, "record_type": "call"}})

    def _is_too_fast(self) -> bool:
        if not self.plan.calls_per_second:
            return False
        now = time.time()
        self._dials = [at for at in self._dials if at > now - 1]
        if len(self._dials) >= self.plan.calls_per_second:
            return True
        self._dials.append(now)
        return False

    async def _dial(self, leg: Leg, about: str | None) -> None:
        """Ring, be answered, do as told, hang up."""
        tells = about not in {"lost", "reordered"}
        outcome = self.fate.outcome()
        if tells and about != "early":
            await self._tell(leg, "call.initiated", state="parked", direction="outgoing")
        hung_up = await self._next_command(leg, self.plan.step_seconds) == "hangup"
        if hung_up:
            await self._hang_up(leg, "originator_cancel", "487", "caller", about)
            return
        if outcome != "completed":
            await self._hang_up(leg, *CAUSES[outcome], about)
            return
        leg.answered_at = time.time()
        if tells:
            await self._tell(leg, "call.answered", state="answered")
            if leg.body.get("answering_machine_detection"):
                result = "machine" if leg.to.endswith("03") else "human"
                await self._tell(leg, "call.machine.detection.ended", result=result)
        command = await self._next_command(leg, self.plan.unheard_seconds)
        if command == "speak":
            await asyncio.sleep(self.plan.step_seconds)
            if tells:
                await self._tell(leg, "call.speak.ended", status="completed")
            leg.has_spoken.set()
            command = await self._next_command(leg, self.plan.unheard_seconds)
        source = "caller" if command == "hangup" else "callee"
        await self._hang_up(leg, "normal_clearing", "200", source, about)

    async def _next_command(self, leg: Leg, seconds: float) -> str | None:
        try:
            return await asyncio.wait_for(leg.commands.get(), seconds)
        except TimeoutError:
            return None

    async def _hang_up(
        self, leg: Leg, cause: str, sip: str, source: str, about: str | None
    ) -> None:
        leg.ended_at = time.time()
        ending = "completed" if leg.answered_at else word(cause)
        leg.deed.status = "stopped" if leg.is_hung_up and not leg.said else ending
        if about == "lost":
            return
        news = {"hangup_cause": cause, "sip_hangup_cause": sip, "hangup_source": source}
        for _ in range(2 if about == "doubled" else 1):
            await self._tell(leg, "call.hangup", state="hangup", **news)
        if about == "reordered":
            await self._tell(leg, "call.initiated", state="parked", direction="outgoing")
        await asyncio.sleep(self.plan.price_after_seconds)
        if leg.answered_at:
            await self._tell_details(leg)

    async def _tell_details(self, leg: Leg) -> None:
        if leg.body.get("record"):
            urls = {"mp3": f"https://api.telnyx.com/recordings/{leg.control_id}.mp3"}
            await self._tell(leg, "call.recording.saved", recording_urls=urls, channels="single")
        part = {"call_part": "call-control", "cost": "0.0020", "currency": "USD", "rate": "0.002"}
        await self._tell(leg, "call.cost", status="success", total_cost="0.0125", cost_parts=[part])

    async def _tell(self, leg: Leg, kind: str, **payload: object) -> None:
        common = {**ids(leg), "client_state": leg.body["client_state"], "to": leg.to}
        if kind == "call.recording.saved":
            del common["call_control_id"]
        event = {
            "data": {
                "record_type": "event",
                "event_type": kind,
                "id": str(uuid4()),
                "occurred_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
                "payload": {**common, **payload},
            },
            "meta": {"attempt": 1},
        }
        self.ledger.violations += judge_webhook(kind, event)
        body, stamp = json.dumps(event).encode(), str(int(time.time()))
        key = OTHER_KEY if self.plan.wrong_signature else SIGNING_KEY
        signature = key.sign(f"{stamp}|".encode() + body).signature
        headers = {
            "Content-Type": "application/json",
            "telnyx-timestamp": stamp,
            "telnyx-signature-ed25519": base64.b64encode(signature).decode(),
        }
        await self.post(str(leg.body["webhook_url"]), body, headers)

    async def _command(
        self, control_id: str, action: str, body: Mapping[str, object], line: Line
    ) -> None:
        leg = self._legs.get(control_id)
        if leg is None or leg.ended_at is not None:
            await _refuse(line, 422, "90018", "Call has already ended")
            return
        if action == "speak" and self.plan.refuses_speech:
            await _refuse(line, 422, self.plan.refuses_speech, "Invalid voice", "/voice")
            return
        known = self._keys.get(str(body["command_id"]))
        if known is None or time.time() - known[0] >= self.plan.key_seconds:
            self._keys[str(body["command_id"])] = (time.time(), control_id)
            if action == "speak":
                leg.said.append(str(body["payload"]))
            leg.is_hung_up = leg.is_hung_up or action == "hangup"
            leg.commands.put_nowait(action)
        if action == "speak" and self.plan.breaks_off_speech:
            await leg.has_spoken.wait()
            line.reset()
            return
        await _answer(line, {"data": {"result": "ok"}})

    async def _read(self, path: list[str], query: Mapping[str, str], line: Line) -> None:
        if self.fate.is_undecided():
            await line.reply(503, b"upstream connect error")
            return
        if path[0] in self.plan.closed:
            await _refuse(line, 403, "10010", "Authorization failed")
            return
        match path:
            case ["calls", control_id] if control_id in self._legs:
                await _answer(line, {"data": show(self._legs[control_id])})
            case ["connections", connection_id, "active_calls"] if connection_id == CONNECTION:
                await self._list(query, line)
            case ["balance"]:
                await _answer(line, {"data": {"record_type": "balance", "currency": "USD"}})
            case ["call_control_applications", connection_id] if connection_id == CONNECTION:
                await _answer(line, {"data": {"id": CONNECTION, "active": True}})
            case ["phone_numbers"]:
                owned = query.get("filter[phone_number]") == OWNED
                await _answer(line, {"data": [{"phone_number": OWNED}] if owned else []})
            case _:
                await _refuse(line, 404, "10005", "Resource not found")

    async def _list(self, query: Mapping[str, str], line: Line) -> None:
        before = time.time() - self.plan.listed_after_seconds
        alive = [
            leg for leg in self._legs.values() if leg.ended_at is None and leg.created_at <= before
        ]
        start, size = _find_page(query)
        shown = alive[start : start + size]
        told = _tell_of_pages(self.plan.pages_by, start=start, size=size, total=len(alive))
        await _answer(line, {"data": [show_live(leg) for leg in shown], **told})


def _find_page(query: Mapping[str, str]) -> tuple[int, int]:
    """Return where a page begins, and how many calls it has at most."""
    asked = query.get("page[limit]") or query.get("page[size]") or str(PAGE_SIZE)
    size = min(int(asked), PAGE_SIZE)
    if "page[after]" in query:
        return int(base64.b64decode(query["page[after]"].removeprefix("v1:"))), size
    return (int(query.get("page[number]", "1")) - 1) * size, size


def _tell_of_pages(by: str, *, start: int, size: int, total: int) -> Mapping[str, object]:
    """Say how a list goes on; the last page too has a cursor, behind which there is nothing."""
    after = f"v1:{base64.b64encode(str(min(start + size, total)).encode()).decode()}"
    match by:
        case "cursor":
            told: Mapping[str, object] = {"cursors": {"after": after, "before": after}}
        case "next" if start + size < total:
            told = {"next": f"/v2/connections/{CONNECTION}/active_calls?page[after]={after}"}
        case "next":
            told = {"next": None}
        case "nothing":
            return {}
        case _:
            told = {
                "page_number": start // size + 1,
                "page_size": size,
                "total_pages": max(1, -(-total // size)),
            }
    return {"meta": {**told, "total_items": total}}


def _errors(code: str, title: str, pointer: str | None = None) -> bytes:
    error: dict[str, object] = {"code": code, "title": title, "detail": f"{title}."}
    if pointer is not None:
        error["source"] = {"pointer": pointer}
    return json.dumps({"errors": [error]}).encode()


async def _answer(line: Line, content: Mapping[str, object]) -> None:
    await line.reply(
        200, json.dumps(content).encode(), headers={"Content-Type": "application/json"}
    )


async def _refuse(
    line: Line, status: int, code: str, title: str, pointer: str | None = None
) -> None:
    await line.reply(
        status, _errors(code, title, pointer), headers={"Content-Type": "application/json"}
    )


if __name__ == "__main__":
    run(FakeTelnyx)
