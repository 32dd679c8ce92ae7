"""The `twilio` provider: calls through Twilio Programmable Voice, found again by their numbers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import parse_qsl

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
from batchyard.providers import call_endings, twilio_checks
from batchyard.providers.api_client import Pairs
from batchyard.providers.base import Callback, OtherEffect, Promise, Provider, Surroundings
from batchyard.providers.http_exchange import AccessRefused, AnswerLost, NotSent, Reply
from batchyard.providers.settings import read_secrets, read_settings
from batchyard.providers.spoken import Unspeakable, write_twiml
from batchyard.providers.twilio_account import Account
from batchyard.providers.twilio_answers import (
    Call,
    is_too_late,
    read_address,
    read_call,
    read_event,
    read_fault,
    read_refusal,
    read_sid,
)
from batchyard.providers.twilio_settings import TwilioSecrets, TwilioSettings
from batchyard.providers.twilio_signature import is_signed

EVENTS = ("initiated", "ringing", "answered", "completed")
DETECTION = {"detect": "Enable", "message_end": "DetectMessageEnd"}
SIGNATURE_HEADER = "x-twilio-signature"
MOST_FIELDS = 200

CLOCK_SKEW = timedelta(minutes=1)
"""Their clock and ours may be so far apart; older calls to a number are never taken for ours."""

MOST_SENDS = 5
"""A key that was sent so often, its answer lost and no call listed each time, is left to a person.
What was refused in between was not sent in vain."""

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)


class TwilioProvider(Provider):
    """Calls real people through a Twilio account."""

    kinds = frozenset({Kind.CALL})
    settings_model = TwilioSettings
    secrets_model = TwilioSecrets
    account_setting = "account_sid"
    ends_calls = True
    locating_settings = frozenset({"account_sid", "base_url", "from_number"})

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._settings = read_settings(TwilioSettings, self.name, self.settings)
        self._secrets = read_secrets(TwilioSecrets, self.name, self.secret)
        self._account = Account(
            self.name, self._settings, self._secrets, allow_private=self.allow_private
        )
        self._promise = self._settings.promise
        self.concurrency = self._settings.concurrency
        self.rate = self._settings.rate
        self.caller = self._settings.from_number
        self._is_proven_test = False

    @property
    def promise(self) -> Promise:
        """No key, but a list by numbers: one undecided call between two numbers at a time."""
        return self._promise

    async def send(self, request: Request) -> Answer:
        """Place the call once."""
        if self._account.is_closing:
            return Refused(code="provider_closing", message="The provider's settings change.")
        try:
            form = self._form(request)
        except InvalidRequest as error:
            return Ended(status="error", error_code=error.code, error_message=error.message)
        return await self._refuse_live_credentials() or await self._place(form)

    async def ask(self, request: Request) -> Finding:
        """Look the call up by its sid, or by its numbers while that is not known."""
        try:
            if request.reference is None:
                return await self._search(request)
            return self._found(request, await self._account.get_call(request.reference))
        except (NotSent, AnswerLost) as error:
            return self._go_on(request) or self._read_fault(error)
        except InvalidRequest as error:
            return self._go_on(request) or Lost(code="answer_unreadable", message=error.message)

    async def read_callback(self, request: Request, callback: Callback) -> Answer:
        """Read a status callback; it binds a call whose answer was lost."""
        pairs = _read_form(callback.body)
        token = self._secrets.auth_token.get_secret_value()
        # The address Twilio was given, not the one that a proxy or a Host header makes of it.
        url = self.callback_address(request)
        if not is_signed(token, url, pairs, callback.headers.get(SIGNATURE_HEADER, "")):
            raise Forbidden("The signature is wrong.")
        form = dict(pairs)
        if form.get("AccountSid") != self._settings.account_sid:
            raise Forbidden("It is about another account.")
        sid = read_sid(form)
        if request.reference not in {None, sid}:
            raise OtherEffect(f"It is about {sid}, but the call is {request.reference}.")
        if "RecordingStatus" in form:
            return self._with_recording(request, sid, form.get("RecordingUrl"))
        return self._found(request, read_event(form))

    async def end(self, request: Request) -> Answer:
        """Cancel a call that rings, hang up one that is answered."""
        if request.reference is None:
            raise Conflict("It is not known yet which call it is.")
        resource = f"/Calls/{request.reference}.json"
        try:
            # What already speaks is not changed by this.
            first = reply = await self._account.post(resource, [("Status", "canceled")])
            if reply.status == 400 or (reply.status == 200 and not _is_over(reply)):
                reply = await self._account.post(resource, [("Status", "completed")])
            if is_too_late(first) and is_too_late(reply):
                raise Conflict("The call was over already; its end is told soon.")
            if reply.status != 200:
                raise ProviderError(read_fault(reply).message)
            return self._found(request, read_call(reply.body))
        except (NotSent, AnswerLost, InvalidRequest) as error:
            raise ProviderError(error.message) from error

    async def check(self) -> Sequence[str]:
        """Prove the credentials, and say whose calls they place."""
        return await twilio_checks.check(self._account, self._settings, now=self.clock)

    async def close(self) -> None:
        """Let what is out come in, then hang up."""
        await self._account.close()

    async def _place(self, form: Pairs) -> Answer:
        try:
            reply = await self._account.post("/Calls.json", form)
        except NotSent as error:
            return Refused(code=error.code, message=error.message)
        except AnswerLost as error:
            return Lost(code=error.code, message=error.message)
        if not reply.is_success:
            return read_refusal(reply, now=self.clock())
        try:
            call = read_call(reply.body)
        except InvalidRequest as error:
            return Lost(code="answer_unreadable", message=error.message)
        if self._settings.mode == "test":
            said = {"hangup_reason": "Test credentials: nothing was dialled."}
            return Ended(status="completed", result=said, reference=call.sid)
        return Accepted(
            reference=call.sid,
            status=call.live_word or "initiated",
            check_at=self.clock() + timedelta(seconds=self._settings.look_up_after_seconds),
        )

    def _form(self, request: Request) -> Pairs:
        settings = self._settings
        caller = request.from_number or self.caller
        if request.number is None:
            raise Unspeakable("The call has no number.", code="number_missing")
        if caller is None:
            raise Unspeakable(
                "No number to call from: give the batch one, or the provider --from-number.",
                code="from_number_missing",
            )
        form = [
            ("To", request.number),
            ("From", caller),
            *self._speech(request),
            ("StatusCallback", self.callback_address(request)),
            ("StatusCallbackMethod", "POST"),
            *(("StatusCallbackEvent", event) for event in EVENTS),
            ("Timeout", str(settings.ring_seconds)),
        ]
        if settings.call_seconds is not None:
            form.append(("TimeLimit", str(settings.call_seconds)))
        if settings.machine_detection != "off":
            form.append(("MachineDetection", DETECTION[settings.machine_detection]))
        if settings.record:
            form += [
                ("Record", "true"),
                ("RecordingStatusCallback", self.callback_address(request)),
                ("RecordingStatusCallbackEvent", "completed"),
            ]
        return form

    def _speech(self, request: Request) -> Pairs:
        settings = self._settings
        if settings.say is None:
            return [("Url", settings.url or "")]
        twiml = write_twiml(
            settings.say, request.payload, language=settings.language, voice=settings.voice
        )
        return [("Twiml", twiml)]

    async def _refuse_live_credentials(self) -> Refused | None:
        """Where only tests are meant, send nothing until the credentials are proven to be such."""
        if self._settings.mode == "live" or self._is_proven_test:
            return None
        try:
            await twilio_checks.prove_test(self._account)
        except twilio_checks.LiveCredentials as error:
            return Refused(code="live_credentials", message=error.message, stops_provider=True)
        except (NotSent, AnswerLost, ProviderError) as error:
            return Refused(code="not_proven", message=error.message, retry_after_seconds=5)
        self._is_proven_test = True
        return None

    async def _search(self, request: Request) -> Finding:
        """Find a call by its numbers: the only one that is young enough and nobody else's."""
        query = {"To": request.number or "", "From": request.from_number or self.caller or ""}
        listed = await self._account.list_calls(query)
        # A call that waits for its turn has no start yet, by which lists may be ordered.
        listed += await self._account.list_calls({**query, "Status": "queued"})
        earliest = (request.since or request.sent_at) - CLOCK_SKEW
        found = {
            call.sid: call
            for call in listed
            if call.is_ours
            and call.sid not in request.taken
            and (call.created_at is None or call.created_at >= earliest)
        }
        if len(found) > 1:
            return Lost(
                code="several_candidates",
                message=f"{len(found)} calls fit: {', '.join(sorted(found))}. Look at each in "
                "Twilio's console; the account should be used by Batchyard alone.",
            )
        if found:
            return self._found(request, next(iter(found.values())))
        if (sends := request.absences + 1) >= MOST_SENDS:
            return Lost(
                code="sent_without_trace",
                message=f"Sent {sends} times without an answer, and no call is listed for any of "
                "them.",
            )
        return NotReceived()

    def _read_fault(self, error: NotSent | AnswerLost) -> Lost:
        """Say what a question without an answer means; test credentials may never ask."""
        is_refused = isinstance(error, AccessRefused) and self._settings.mode == "live"
        return Lost(code=error.code, message=error.message, stops_provider=is_refused)

    def _found(self, request: Request, call: Call) -> Ended | Accepted:
        if (word := call.live_word) is None:
            return self._finish(request, call.end())
        return Accepted(reference=call.sid, status=word, check_at=self._next_look(request))

    def _finish(self, request: Request, ended: Ended) -> Ended | Accepted:
        is_charged = ended.status == "completed"
        return call_endings.finish(
            request,
            ended,
            awaited=self._settings.awaited if is_charged else (),
            patience=self._patience,
            now=self.clock(),
        )

    def _go_on(self, request: Request, news: JsonObject | None = None) -> Ended | Accepted | None:
        """Go on waiting for the rest of a call that is over; None when it is not."""
        return call_endings.resume(
            request,
            news or {},
            awaited=self._settings.awaited,
            patience=self._patience,
            now=self.clock(),
        )

    def _with_recording(self, request: Request, sid: str, url: str | None) -> Ended | Accepted:
        news = {"recording_url": read_address(url)}
        if (answer := self._go_on(request, news)) is not None:
            return answer
        # It came before the end was told, so the call is looked up now.
        return Accepted(
            reference=sid,
            status=call_endings.DISCONNECTED,
            check_at=self.clock(),
            result=call_endings.keep(request, news),
        )

    @property
    def _patience(self) -> timedelta:
        return timedelta(seconds=self._settings.price_wait_seconds)

    def _next_look(self, request: Request) -> datetime:
        now = self.clock()
        first = timedelta(seconds=self._settings.look_up_after_seconds)
        pause = max((now - request.sent_at) / 2, min(first, FIRST_PAUSE))
        return now + min(pause, LONGEST_PAUSE)


def _read_form(body: bytes) -> Pairs:
    """Read a form with every field it has, empty ones too: the signature is over all of them."""
    try:
        return parse_qsl(
            body.decode(),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError as error:
        raise InvalidRequest("The callback is no form.") from error


def _is_over(reply: Reply) -> bool:
    return read_call(reply.body).live_word is None
