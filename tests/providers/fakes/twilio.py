"""A Twilio account in small: accepts calls, queues, dials, lists and tells of them, and misbehaves.

`python -m tests.providers.fakes.twilio --port N --plan JSON`. Its callbacks are signed by the
vendor's own library.
"""

import asyncio
import base64
import json
import re
import time
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import uuid4

from twilio.request_validator import RequestValidator

from batchyard.testing import Arrived, Line
from tests.providers.fakes import specification
from tests.providers.fakes.ledger import Deed
from tests.providers.fakes.plan import TWIN, Plan
from tests.providers.fakes.serving import Fake, Overheard, run
from tests.providers.fakes.twilio_calls import (
    ACCOUNT,
    KEY_SECRET,
    KEY_SID,
    OWNED,
    TEST_ACCOUNT,
    TEST_TOKEN,
    TOKEN,
    VERIFIED,
    Call,
    find_refusal,
)

CONCURRENCY_USED_UP = "concurrency_used_up"
"""400 because of the calls that live, and nothing is done; only ordered."""

DEAF = 21609, "The StatusCallback URL is not a valid URL."

ROOT = re.compile(r"^/2010-04-01/Accounts/(AC[0-9a-f]{32})(\.json|/.*)$")


class FakeTwilio(Fake):
    """One account, live and test."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._calls: dict[str, Call] = {}
        self._next_turn_at = 0.0
        self._specification = specification.find()

    def forget(self) -> None:
        self._calls, self._next_turn_at = {}, 0.0

    async def serve(self, arrived: Arrived, line: Line) -> None:
        heard = Overheard(line)
        await self._serve(arrived, heard)  # type: ignore[arg-type]
        if self._specification is not None:
            self.ledger.violations += self._specification.judge(arrived, heard.status, heard.body)

    async def _serve(self, arrived: Arrived, line: Line) -> None:
        parts = urlsplit(arrived.path)
        found = ROOT.match(parts.path)
        if found is None:
            await _refuse(line, 404, 20404, "The requested resource was not found")
            return
        account, resource = found.groups()
        self.ledger.requests[f"{arrived.method} {re.sub('CA[0-9a-f]{32}', 'SID', resource)}"] += 1
        if self.plan.is_suspended or not _is_known(arrived, account):
            await _refuse(line, 401, 20003, "Authenticate")
            return
        is_test = account == TEST_ACCOUNT
        if is_test and (arrived.method, resource) != ("POST", "/Calls.json"):
            await _refuse(line, 403, 20008, "Resource not accessible with Test Account Credentials")
            return
        if resource.startswith("/Calls"):
            await self._serve_calls(arrived, resource, line, is_test=is_test)
        else:
            await self._serve_account(arrived, account, resource, line)

    async def _serve_account(
        self, arrived: Arrived, account: str, resource: str, line: Line
    ) -> None:
        query = dict(parse_qsl(urlsplit(arrived.path).query))
        wanted = query.get("PhoneNumber")
        owned = [{"phone_number": OWNED}] if wanted == OWNED else []
        verified = [{"phone_number": VERIFIED}] if wanted == VERIFIED else []
        match arrived.method, resource:
            case "GET", ".json" if _credentials(arrived) == (KEY_SID, KEY_SECRET):
                # A standard key sees everything but accounts and keys.
                await _refuse(line, 401, 20003, "Authenticate")
            case "GET", ".json":
                await _answer(line, 200, {"sid": account, "status": "active", "type": "Full"})
            case "GET", "/IncomingPhoneNumbers.json":
                await _answer(line, 200, {"incoming_phone_numbers": owned})
            case "GET", "/OutgoingCallerIds.json":
                await _answer(line, 200, {"outgoing_caller_ids": verified})
            case _:
                await _refuse(line, 404, 20404, "The requested resource was not found")

    async def _serve_calls(
        self, arrived: Arrived, resource: str, line: Line, *, is_test: bool
    ) -> None:
        query = dict(parse_qsl(urlsplit(arrived.path).query))
        match arrived.method, resource.strip("/").removesuffix(".json").split("/"):
            case "POST", ["Calls"]:
                await self._create(arrived, line, is_test=is_test)
            case "GET", ["Calls"]:
                await self._list(query, line)
            case "GET", ["Calls", sid]:
                await self._read(sid, line)
            case "POST", ["Calls", sid]:
                await self._update(sid, _form(arrived), line)
            case "DELETE", _:
                self.ledger.violations.append("evidence was deleted")
                await line.reply(204)
            case _:
                await _refuse(line, 405, 20004, "Method not allowed")

    async def _create(self, arrived: Arrived, line: Line, *, is_test: bool) -> None:
        form = _form(arrived)
        if (refusal := DEAF if self.plan.is_deaf else find_refusal(form)) is not None:
            await _refuse(line, 400, *refusal)
            return
        deed = None
        self.ledger.note(form)
        if callback := form.get("StatusCallback"):
            deed = self.ledger.deed(callback[0])
            deed.requests += 1
        fault = None if deed is None else self.fate.fault()
        if fault == "busy_before":
            await _refuse(line, 429, 20429, "Too Many Requests")
            return
        if fault == CONCURRENCY_USED_UP:
            await _refuse(line, 400, 10004, "Call concurrency limit exceeded")
            return
        if deed is not None and await self.spoil_before(fault, deed, line):
            return
        call = self._place(form, deed, is_test=is_test)
        if deed is not None and self._has_twin(call):
            deed.faults.append(TWIN)
            self._place(form, None, is_test=True)
        about = None if deed is None else self.fate.callback_fault(deed)
        if about == "early":
            await self._tell(call, "initiated")
        if not is_test:
            self.begin(self._dial(call, about))
        error = json.dumps({"code": 20500, "message": "An internal server error", "status": 500})
        if not await self.spoil_after(fault, error.encode(), line):
            await _answer(line, 201, self._show(call))

    def _place(self, form: Mapping[str, list[str]], deed: Deed | None, *, is_test: bool) -> Call:
        call = Call(
            sid=f"CA{uuid4().hex}",
            deed=deed,
            form=form,
            created_at=time.time(),
            outcome=self.fate.outcome(),
            queue_seconds=self.fate.queue_seconds() + self._excess_seconds(),
        )
        self._calls[call.sid] = call
        if deed is not None and not is_test:
            deed.effects += 1
        return call

    def _has_twin(self, call: Call) -> bool:
        is_called_too = self.plan.twins and call.first("To").endswith(self.plan.twins)
        return bool(is_called_too) and call.outcome == "completed"

    def _excess_seconds(self) -> float:
        """Return how long a call waits that exceeds the account's calls per second."""
        if not self.plan.calls_per_second:
            return 0
        now = time.time()
        turn_at = max(now, self._next_turn_at)
        self._next_turn_at = turn_at + 1 / self.plan.calls_per_second
        return turn_at - now

    async def _dial(self, call: Call, about: str | None) -> None:
        """Go through the states of a call; whoever asks may end it in between."""
        outcome = call.outcome
        steps = [("initiated", 0.0), ("ringing", self.plan.step_seconds)]
        if outcome == "completed":
            steps.append(("in-progress", self.plan.step_seconds))
        told: list[str] = []
        await self._queue(call)
        for status, seconds in steps:
            if await self._is_ended_within(call, seconds):
                break
            call.status = status
            call.started_at = call.started_at or time.time()
            if status == "in-progress":
                call.answered_at = time.time()
            told.append(status)
            if about not in {"lost", "reordered"}:
                await self._tell(call, status)
        else:
            await self._is_ended_within(call, self.plan.step_seconds)
        self._end(call, call.end_asked or outcome)
        if about != "lost":
            await self._tell(call, call.status)
        if about == "doubled":
            await self._tell(call, call.status)
        if about == "reordered":
            for status in reversed(told):
                await self._tell(call, status)

    async def _queue(self, call: Call) -> None:
        """Wait until it is the call's turn, it is released, or somebody ends it."""
        waits = [asyncio.create_task(event.wait()) for event in (self.is_released, call.ended)]
        try:
            await asyncio.wait(
                waits, timeout=call.queue_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for one in waits:
                one.cancel()

    async def _is_ended_within(self, call: Call, seconds: float) -> bool:
        if call.ended.is_set():
            return True
        try:
            await asyncio.wait_for(call.ended.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _end(self, call: Call, status: str) -> None:
        call.status, call.ended_at = status, time.time()
        if call.deed is not None:
            call.deed.status = "stopped" if call.end_asked else status

    async def _tell(self, call: Call, status: str) -> None:
        event = "completed" if call.ended_at and status == call.status else status
        event = "answered" if event == "in-progress" else event
        wanted = call.form.get("StatusCallbackEvent", ["completed"])
        if event not in wanted or not call.first("StatusCallback"):
            return
        pairs = call.tell(status, is_last=event == "completed")
        await self._post(call.first("StatusCallback"), pairs)
        recording = call.first("RecordingStatusCallback")
        if event == "completed" and recording and call.answered_at:
            await self._post(recording, call.tell_recording())

    async def _post(self, url: str, pairs: Mapping[str, str]) -> None:
        token = "another token" if self.plan.wrong_signature else TOKEN
        headers = {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "X-Twilio-Signature": RequestValidator(token).compute_signature(url, dict(pairs)),
        }
        await self.post(url, urlencode(pairs).encode(), headers)

    async def _list(self, query: Mapping[str, str], line: Line) -> None:
        if self.fate.is_undecided():
            await line.reply(503, b"upstream connect error")
            return
        before = time.time() - self.plan.listed_after_seconds
        found = [
            call
            for call in sorted(self._calls.values(), key=lambda call: -call.created_at)
            if call.created_at <= before
            and query.get("To") in {None, call.first("To")}
            and query.get("From") in {None, call.first("From")}
            and self._is_listed(call)
            and query.get("Status") in {None, call.status}
        ]
        size, page = int(query.get("PageSize", "50")), int(query.get("Page", "0"))
        shown = found[page * size : (page + 1) * size]
        path = f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json"
        more = {**query, "Page": str(page + 1), "PageToken": "PA1"}
        following = f"{path}?{urlencode(more)}" if len(found) > (page + 1) * size else None
        await _answer(
            line,
            200,
            {
                "calls": [self._show(call) for call in shown],
                "first_page_uri": f"{path}?{urlencode({**query, 'Page': '0'})}",
                "next_page_uri": following,
                "previous_page_uri": None,
                "page": page,
                "page_size": size,
                "start": page * size,
                "end": page * size + max(0, len(shown) - 1),
                "uri": path,
            },
        )

    def _is_listed(self, call: Call) -> bool:
        """Leave a call out of the first lists that it belongs to."""
        call.lists += 1
        return call.lists > self.plan.listed_after_lists

    async def _read(self, sid: str, line: Line) -> None:
        call = self._calls.get(sid)
        if self.fate.is_undecided():
            await line.reply(503, b"upstream connect error")
        elif call is None:
            await _refuse(
                line, 404, 20404, f"The requested resource /Calls/{sid}.json was not found"
            )
        else:
            await _answer(line, 200, self._show(call))

    async def _update(self, sid: str, form: Mapping[str, list[str]], line: Line) -> None:
        call = self._calls.get(sid)
        wanted = form.get("Status", [""])[0]
        if call is None:
            await _refuse(line, 404, 20404, "The requested resource was not found")
        elif call.ended_at is not None:
            await _refuse(line, 400, 21220, "Invalid call state")
        else:
            if wanted == "completed" or call.status != "in-progress":
                call.end_asked = wanted if call.answered_at is None else "completed"
                call.ended.set()
                while call.ended_at is None:  # noqa: ASYNC110  # its own task ends it
                    await asyncio.sleep(0.005)
            await _answer(line, 200, self._show(call))

    def _show(self, call: Call) -> Mapping[str, object]:
        is_released = self.is_released.is_set()
        return call.show(price_after_seconds=0 if is_released else self.plan.price_after_seconds)


def _form(arrived: Arrived) -> Mapping[str, list[str]]:
    form: dict[str, list[str]] = {}
    for name, value in parse_qsl(arrived.body.decode(), keep_blank_values=True):
        form.setdefault(name, []).append(value)
    return form


def _credentials(arrived: Arrived) -> tuple[str, str]:
    scheme, _, text = arrived.headers.get("authorization", "").partition(" ")
    user, _, token = base64.b64decode(text).decode().partition(":")
    return (user, token) if scheme == "Basic" else ("", "")


def _is_known(arrived: Arrived, account: str) -> bool:
    user, token = _credentials(arrived)
    if account == ACCOUNT and (user, token) == (KEY_SID, KEY_SECRET):
        return True
    return user == account and (user, token) in {(ACCOUNT, TOKEN), (TEST_ACCOUNT, TEST_TOKEN)}


async def _answer(line: Line, status: int, content: Mapping[str, object]) -> None:
    await line.reply(
        status, json.dumps(content).encode(), headers={"Content-Type": "application/json"}
    )


async def _refuse(line: Line, status: int, code: int, message: str) -> None:
    await _answer(
        line,
        status,
        {
            "code": code,
            "message": message,
            "more_info": f"https://www.twilio.com/docs/errors/{code}",
            "status": status,
        },
    )


if __name__ == "__main__":
    run(FakeTwilio)
