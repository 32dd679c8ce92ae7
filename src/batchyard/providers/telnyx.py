"""The `telnyx` provider: calls through Telnyx Call Control, with a key that holds for a minute."""

import base64
from collections.abc import Sequence
from datetime import datetime, timedelta

import orjson

from batchyard.errors import Conflict, Forbidden, InvalidRequest, ProviderError
from batchyard.models import (
    Accepted,
    Answer,
    Ended,
    Finding,
    JsonObject,
    Kind,
    Lost,
    NotReceived,
    Refused,
    Request,
)
from batchyard.providers import call_endings
from batchyard.providers.api_client import ApiClient, Pairs
from batchyard.providers.base import Callback, OtherEffect, Promise, Provider, Surroundings
from batchyard.providers.http_answers import describe
from batchyard.providers.http_exchange import AnswerLost, NotSent, Reply
from batchyard.providers.settings import read_secrets, read_settings
from batchyard.providers.spoken import Unspeakable, write_text
from batchyard.providers.telnyx_answers import (
    Event,
    Leg,
    is_key_refused,
    is_too_late,
    read_channel_limit,
    read_command_refusal,
    read_cost,
    read_end,
    read_event,
    read_failed_look_up,
    read_leg,
    read_page,
    read_recording,
    read_refusal,
    read_time,
)
from batchyard.providers.telnyx_checks import check
from batchyard.providers.telnyx_script import (
    STEP_PATIENCE,
    Step,
    after_lost_step,
    after_step,
    begin_step,
    give_text_up,
    judge_end,
    marks_of,
    read_lapsed_step,
    read_step,
)
from batchyard.providers.telnyx_settings import TelnyxSecrets, TelnyxSettings
from batchyard.providers.telnyx_signature import is_signed, read_public_key

JSON = "application/json"
PAGE_SIZE = 250
MOST_PAGES = 40

STEP_PAUSE = timedelta(seconds=1)
GONE_PAUSE = timedelta(seconds=30)
"""So long the webhook of an end is waited for once a look-up has shown it: only it has the cause,
and it is told again when our server was away."""

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=4)
"""An ended call can be looked up for ten minutes."""


class TelnyxProvider(Provider):
    """Calls real people through a Telnyx Call Control application."""

    kinds = frozenset({Kind.CALL})
    settings_model = TelnyxSettings
    secrets_model = TelnyxSecrets
    ends_calls = True
    locating_settings = frozenset({"base_url", "connection_id"})

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._settings = read_settings(TelnyxSettings, self.name, self.settings)
        secrets = read_secrets(TelnyxSecrets, self.name, self.secret)
        self._public_key = read_public_key(self._settings.public_key)
        self._api = ApiClient(
            self._settings.base_url,
            authorization=f"Bearer {secrets.api_key.get_secret_value()}",
            timeout_seconds=self._settings.timeout_seconds,
            allow_private=self.allow_private,
        )
        self._promise = self._settings.promise
        self.concurrency = self._settings.concurrency
        self.rate = self._settings.rate
        self.caller = self._settings.from_number

    @property
    def promise(self) -> Promise:
        """The same key has one effect for a minute; live calls can be found by it for longer."""
        return self._promise

    async def send(self, request: Request) -> Answer:
        """Dial once; the key makes a repetition harmless while Telnyx remembers it."""
        if self._api.is_closing:
            return Refused(code="provider_closing", message="The provider's settings change.")
        try:
            body = self._dial(request)
        except InvalidRequest as error:
            return Ended(
                status="error",
                error_code=error.code,
                error_message=error.message,
                is_refusal=True,
            )
        try:
            reply = await self._post("/calls", body)
        except NotSent as error:
            return Refused(code=error.code, message=error.message)
        except AnswerLost as error:
            return Lost(code=error.code, message=error.message)
        if not reply.is_success:
            limit = None if request.is_repeat else read_channel_limit(reply)
            return limit or read_refusal(reply, now=self.clock())
        try:
            leg = read_leg(reply.body)
        except InvalidRequest as error:
            return Lost(code="answer_unreadable", message=error.message)
        # What a repeated key is answered is not documented; it may name no call.
        return Accepted(
            reference=leg.control_id,
            check_at=self.clock() + timedelta(seconds=self._settings.look_up_after_seconds),
        )

    async def ask(self, request: Request) -> Finding:
        """Do what is due in a live call, look it up, or find it among those that live."""
        known = call_endings.known_of(request)
        if (held := self._go_on(request, {})) is not None:
            return held
        try:
            if request.reference is None:
                return await self._search(request)
            step = read_step(known, now=self.clock())
            if step is not None:
                return await self._do(request, request.reference, step)
            if read_lapsed_step(known, now=self.clock()) is Step.SPEAK:
                why = f"That was not confirmed within {STEP_PATIENCE.seconds} seconds."
                return self._give_text_up(request, why, may_have_spoken=True)
            reply = await self._api.get(f"/calls/{request.reference}")
            if reply.status != 200:
                return read_failed_look_up(reply)
            return self._found(request, read_leg(reply.body))
        except (NotSent, AnswerLost) as error:
            return Lost(code=error.code, message=error.message)
        except InvalidRequest as error:
            return Lost(code="answer_unreadable", message=error.message)

    async def read_callback(self, request: Request, callback: Callback) -> Answer:
        """Read a webhook; it binds a call whose answer was lost."""
        if not is_signed(self._public_key, callback.headers, callback.body, now=self.clock()):
            raise Forbidden("The signature is wrong, or too old.")
        event = read_event(callback.body)
        if event.client_state not in {None, _state(request)}:
            raise OtherEffect("It is about another call.")
        if None not in {request.reference, event.control_id} and (
            event.control_id != request.reference
        ):
            raise OtherEffect(f"It is about {event.control_id}, not {request.reference}.")
        return self._news(request, event)

    async def end(self, request: Request) -> Answer:
        """Hang up, whether it rings or speaks."""
        if request.reference is None:
            raise Conflict("It is not known yet which call it is.")
        body = {"command_id": f"{request.key}.end", "client_state": _state(request)}
        try:
            reply = await self._post(f"/calls/{request.reference}/actions/hangup", body)
        except (NotSent, AnswerLost) as error:
            raise ProviderError(error.message) from error
        if is_too_late(reply):
            raise Conflict("The call was over already; its end is told soon.")
        if not reply.is_success:
            raise ProviderError(describe(reply))
        return Accepted(
            status=call_endings.DISCONNECTED,
            check_at=self.clock() + GONE_PAUSE,
            result=call_endings.keep(request, {}),
        )

    async def check(self) -> Sequence[str]:
        """Prove the key, and say whose calls it places."""
        return await check(self._api, self._settings, now=self.clock)

    async def close(self) -> None:
        """Let what is out come in, then hang up."""
        await self._api.close()

    def _dial(self, request: Request) -> JsonObject:
        settings = self._settings
        caller = request.from_number or self.caller
        if request.number is None:
            raise Unspeakable("The call has no number.", code="number_missing")
        if caller is None:
            raise Unspeakable(
                "No number to call from: give the batch one, or the provider --from-number.",
                code="from_number_missing",
            )
        if settings.say is not None:
            # Said once it is answered; what cannot be said is not dialled.
            self._text(request)
        body: dict[str, object] = {
            "connection_id": settings.connection_id,
            "to": request.number,
            "from": caller,
            "command_id": request.key,
            "client_state": _state(request),
            "webhook_url": self.callback_address(request),
            "webhook_url_method": "POST",
            "timeout_secs": settings.ring_seconds,
        }
        if settings.audio_url is not None:
            body["audio_url"] = settings.audio_url
        if settings.call_seconds is not None:
            body["time_limit_secs"] = settings.call_seconds
        if settings.machine_detection != "off":
            body["answering_machine_detection"] = settings.machine_detection
        if settings.record:
            body |= {"record": "record-from-answer", "record_format": "mp3"}
        return body

    def _text(self, request: Request) -> str:
        return write_text(self._settings.say or "", request.payload)

    async def _post(self, path: str, body: JsonObject) -> Reply:
        return await self._api.post(path, orjson.dumps(body), content_type=JSON)

    async def _search(self, request: Request) -> Finding:
        """Find a call by our own mark among those that live; absence proves nothing."""
        path = f"/connections/{self._settings.connection_id}/active_calls"
        seen: set[str | None] = set()
        after: str | None = None
        for number in range(1, MOST_PAGES + 1):
            reply = await self._api.get(path, _page_query(number, after))
            if reply.status != 200:
                return read_failed_look_up(reply)
            page = read_page(reply.body)
            for leg in page.legs:
                if leg.client_state == _state(request) and leg.control_id is not None:
                    return Accepted(reference=leg.control_id, check_at=self._next_look(request))
            fresh = {leg.control_id for leg in page.legs} - seen
            if page.is_last or not fresh:
                return NotReceived()
            seen |= fresh
            after = page.after
        return Lost(code="too_many_calls", message="Too many live calls to look at.")

    async def _do(self, request: Request, control_id: str, step: Step) -> Accepted | Lost:
        """Carry out a step of a live call; while nobody confirms it, it is due again soon."""
        again_at = self.clock() + STEP_PAUSE
        try:
            body = self._command(request, step)
        except Unspeakable as error:
            # The row or the settings changed since it was dialled.
            return self._give_text_up(request, error.message)
        try:
            reply = await self._post(f"/calls/{control_id}/actions/{step}", body)
        except NotSent:
            return self._in_call(request, check_at=again_at)
        except AnswerLost:
            return self._in_call(request, check_at=again_at, **after_lost_step(step))
        if is_key_refused(reply):
            return read_failed_look_up(reply)
        if reply.is_success or is_too_late(reply):
            # When it was too late, the end is told or looked up.
            marks = after_step(call_endings.known_of(request), step)
            return self._in_call(request, check_at=self._next_look(request), **marks)
        if (why := read_command_refusal(reply)) is not None:
            if step is Step.SPEAK:
                return self._give_text_up(request, why)
            return self._in_call(request, check_at=self._next_look(request))
        marks = {} if reply.status == 429 else after_lost_step(step)
        return self._in_call(request, check_at=again_at, **marks)

    def _command(self, request: Request, step: Step) -> JsonObject:
        body = {"command_id": f"{request.key}.{step}", "client_state": _state(request)}
        if step is Step.HANG_UP:
            return body
        said = {"voice": self._settings.voice, "language": self._settings.language}
        return {**body, "payload": self._text(request), **said}

    def _give_text_up(self, request: Request, why: str, **marks: object) -> Accepted:
        """Have a call hung up whose text is not said: nobody shall listen to silence."""
        now = self.clock()
        marks |= give_text_up(call_endings.known_of(request), why=why, now=now)
        return self._in_call(request, check_at=now, **marks)

    def _in_call(self, request: Request, *, check_at: datetime, **marks: object) -> Accepted:
        return Accepted(
            status="in-progress", check_at=check_at, result=call_endings.keep(request, {}, **marks)
        )

    def _news(self, request: Request, event: Event) -> Answer:
        match event.type:
            case "call.hangup":
                answered_at = read_time(call_endings.known_of(request).mark.get("answered_at"))
                return self._finish(request, read_end(event, answered_at=answered_at))
            case "call.cost":
                return self._later_news(request, event, read_cost(event))
            case "call.recording.saved":
                return self._later_news(request, event, read_recording(event))
        known = call_endings.known_of(request)
        if known.is_over:
            return self._later_news(request, event, {})
        now = self.clock()
        found = marks_of(
            event,
            known,
            says=self._settings.say is not None,
            detection=self._settings.machine_detection,
            now=now,
        )
        if found is None:
            return Accepted(reference=event.control_id, check_at=self._next_look(request))
        result, marks = found
        return Accepted(
            reference=event.control_id,
            status="in-progress",
            check_at=now if "step" in marks else self._next_look(request),
            result=call_endings.keep(request, result, **marks),
        )

    def _later_news(self, request: Request, event: Event, news: JsonObject) -> Answer:
        """Add what comes after the end; before it, it is kept until the end is told."""
        if (answer := self._go_on(request, news)) is not None:
            return answer
        return Accepted(
            reference=event.control_id,
            status="in-progress",
            check_at=self._next_look(request),
            result=call_endings.keep(request, news),
        )

    def _found(self, request: Request, leg: Leg) -> Ended | Accepted:
        known, now = call_endings.known_of(request), self.clock()
        answered = "answered_at" in known.mark or bool(leg.duration_seconds)
        if not leg.has_ended:
            # It lives although it was to be hung up: that is due once more.
            is_left = read_lapsed_step(known, now=now) is Step.HANG_UP
            marks = begin_step(Step.HANG_UP, now=now) if is_left else {}
            return Accepted(
                reference=leg.control_id,
                status="in-progress" if answered else None,
                check_at=self._next_look(request),
                result=call_endings.keep(request, {}, **marks) if is_left else None,
            )
        if "gone_at" not in known.mark:
            return Accepted(
                reference=leg.control_id,
                status=call_endings.DISCONNECTED,
                check_at=now + GONE_PAUSE,
                result=call_endings.keep(request, {}, gone_at=now.isoformat()),
            )
        ended = Ended(
            status="completed" if answered else "no-answer",
            result={"duration_seconds": leg.duration_seconds, "hangup_reason": "not told"},
            reference=leg.control_id,
        )
        return self._finish(request, ended)

    def _finish(self, request: Request, ended: Ended) -> Ended | Accepted:
        return call_endings.finish(
            request,
            judge_end(call_endings.known_of(request), ended),
            awaited=self._settings.awaited if ended.status == "completed" else (),
            patience=self._patience,
            now=self.clock(),
        )

    def _go_on(self, request: Request, news: JsonObject) -> Ended | Accepted | None:
        return call_endings.resume(
            request,
            news,
            awaited=self._settings.awaited,
            patience=self._patience,
            now=self.clock(),
        )

    @property
    def _patience(self) -> timedelta:
        return timedelta(seconds=self._settings.price_wait_seconds)

    def _next_look(self, request: Request) -> datetime:
        now = self.clock()
        first = timedelta(seconds=self._settings.look_up_after_seconds)
        pause = max((now - request.sent_at) / 2, min(first, FIRST_PAUSE))
        return now + min(pause, LONGEST_PAUSE)


def _page_query(number: int, after: str | None) -> Pairs:
    """Ask for the page behind a cursor, or the one of a number where the list has no cursors."""
    if after is not None:
        return [("page[after]", after), ("page[limit]", str(PAGE_SIZE))]
    return [("page[number]", str(number)), ("page[size]", str(PAGE_SIZE))]


def _state(request: Request) -> str:
    """Return the mark that Telnyx tells with every event of a call: its key, in base64."""
    return base64.b64encode(request.key.encode()).decode()
