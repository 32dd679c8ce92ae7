"""What the twilio provider sends, and what it makes of each answer."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from batchyard.errors import Conflict, Forbidden, InvalidRequest
from batchyard.models import Accepted, Answer, Ended, Lost, NotReceived, Refused, Request
from batchyard.providers import twilio_account
from batchyard.providers.base import Callback
from batchyard.providers.http_exchange import AnswerLost, Reply
from batchyard.providers.twilio import TwilioProvider
from batchyard.providers.twilio_account import Account
from batchyard.providers.twilio_answers import call_of, read_refusal
from batchyard.providers.twilio_settings import TwilioSecrets, TwilioSettings
from batchyard.providers.twilio_signature import sign
from tests.providers.fakes.process import Fake
from tests.providers.fakes.twilio_calls import (
    ACCOUNT,
    KEY_SECRET,
    KEY_SID,
    OWNED,
    TOKEN,
)
from tests.providers.requests import make_call
from tests.providers.telephony import PATIENT_SECONDS, twilio_settings
from tests.providers.twilio_surroundings import address, make_provider

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
SID = "CA" + "1" * 32
SECRETS = TwilioSecrets.model_validate({"auth_token": TOKEN})


def read_twilio(fake: Fake) -> TwilioSettings:
    return TwilioSettings.model_validate(twilio_settings(fake, timeout_seconds=PATIENT_SECONDS))


@pytest.fixture
def fake(twilio_server: Fake) -> Iterator[Fake]:
    """Lend the fake with a clean ledger; afterwards nobody may have broken the rules."""
    twilio_server.change(step_seconds=60)
    yield twilio_server
    assert twilio_server.violations() == []


@pytest.fixture
async def provider(fake: Fake) -> AsyncIterator[TwilioProvider]:
    provider = make_provider(fake)
    yield provider
    await provider.close()


async def test_call_is_placed_and_bound(provider: TwilioProvider, fake: Fake) -> None:
    answer = await provider.send(make_call())
    assert isinstance(answer, Accepted)
    assert answer.status == "initiated"
    assert answer.reference is not None
    assert list(fake.per_item().values()) == [1]


async def test_request_says_what_the_settings_and_the_row_say(fake: Fake) -> None:
    request = make_call(payload={"first_name": "Åse & <b>"})
    speaking = make_provider(
        fake, language="da-DK", record=True, machine_detection="message_end", call_seconds=90
    )
    fetching = make_provider(fake, say=None, url="https://twiml.example/a?b=1")
    for provider in (speaking, fetching):
        assert isinstance(await provider.send(request), Accepted)
        await provider.close()
    spoken, fetched = fake.asked()
    assert spoken == {
        "To": [request.number],
        "From": [OWNED],
        "Twiml": [
            '<Response><Say language="da-DK">Hello Åse &amp; &lt;b&gt;.</Say></Response>',
        ],
        "StatusCallback": [address(request)],
        "StatusCallbackMethod": ["POST"],
        "StatusCallbackEvent": ["initiated", "ringing", "answered", "completed"],
        "Timeout": ["60"],
        "TimeLimit": ["90"],
        "MachineDetection": ["DetectMessageEnd"],
        "Record": ["true"],
        "RecordingStatusCallback": [address(request)],
        "RecordingStatusCallbackEvent": ["completed"],
    }
    assert fetched["Url"] == ["https://twiml.example/a?b=1"]
    assert "Twiml" not in fetched


@pytest.mark.parametrize(
    "number,expected",
    [
        ("+15005550001", ("failed", "twilio_21211")),
        ("+15005550002", ("failed", "twilio_21214")),
        ("+15005550004", ("failed", "twilio_21216")),
        ("+15005550003", ("error", "twilio_21215")),
    ],
)
async def test_refused_number_ends_the_item_in_the_vendors_words(
    number: str, expected: tuple[str, str], provider: TwilioProvider
) -> None:
    answer = await provider.send(make_call(number))
    assert isinstance(answer, Ended)
    assert (answer.status, answer.error_code) == expected
    assert expected[1].removeprefix("twilio_") in str(answer.result["hangup_reason"])


async def test_number_the_account_does_not_own_ends_the_item(fake: Fake) -> None:
    provider = make_provider(fake, from_number="+4511223344")
    answer = await provider.send(make_call())
    await provider.close()
    assert isinstance(answer, Ended)
    assert (answer.status, answer.error_code) == ("error", "twilio_21210")
    assert "+4511223344" in str(answer.error_message)


async def test_row_without_its_variable_is_not_called(provider: TwilioProvider, fake: Fake) -> None:
    answer = await provider.send(make_call(payload={"name": "x"}))
    assert isinstance(answer, Ended)
    assert (answer.status, answer.error_code) == ("error", "variable_missing")
    assert "first_name" in str(answer.error_message)
    assert fake.per_item() == {}


def test_call_of_an_impossible_time_is_read_without_it() -> None:
    call = {
        "sid": f"CA{'0' * 32}",
        "status": "queued",
        "date_created": "Tue, 01 Dec 99999999999999999999 09:00:00 +0000",
    }
    assert call_of(call).created_at is None


async def test_too_many_calls_at_once_slow_the_provider_down(provider: TwilioProvider) -> None:
    answer = await provider.send(make_call("+15005550010"))
    assert isinstance(answer, Refused)
    assert answer.retry_after_seconds == 5


async def test_refusal_that_is_on_no_list_proves_nothing(provider: TwilioProvider) -> None:
    assert isinstance(await provider.send(make_call("+15005550099")), Lost)


@pytest.mark.parametrize(
    "status,body,expected",
    [
        (429, b"", Refused(code="twilio_error", message="", retry_after_seconds=1)),
        (401, {"code": 20003}, Refused(code="twilio_20003", message="", stops_provider=True)),
        (403, {"code": 20005}, Refused(code="twilio_20005", message="", stops_provider=True)),
        (404, {"code": 20404}, Refused(code="twilio_20404", message="", stops_provider=True)),
        (405, b"", Refused(code="twilio_error", message="", stops_provider=True)),
        (400, {"code": 21609}, Refused(code="twilio_21609", message="", stops_provider=True)),
        (500, {"code": 21609}, Lost(code="twilio_21609", message="")),
        (401, b"<html>proxy", Lost(code="twilio_error", message="")),
        (404, b"<html>", Lost(code="twilio_error", message="")),
        (400, {"code": 21999}, Lost(code="twilio_21999", message="")),
        (400, b"{", Lost(code="twilio_error", message="")),
        (422, {"code": 21211}, Lost(code="twilio_21211", message="")),
        (500, {"code": 20500}, Lost(code="twilio_20500", message="")),
        (503, {"code": 20503}, Lost(code="twilio_20503", message="")),
        (503, {"code": 10004}, Lost(code="twilio_10004", message="")),
        (502, b"", Lost(code="twilio_error", message="")),
        (504, b"", Lost(code="twilio_error", message="")),
        (302, b"", Lost(code="twilio_error", message="")),
    ],
)
def test_only_what_is_on_the_list_proves_that_nobody_was_called(
    status: int, body: object, expected: Answer
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = read_refusal(Reply(status=status, headers={}, body=content), now=NOW)
    assert isinstance(answer, Refused | Lost)
    assert replace(answer, message="") == expected


def told(request: Request, *, token: str = TOKEN, url: str | None = None, **form: str) -> Callback:
    pairs = [*{"AccountSid": ACCOUNT, "CallSid": SID, **form}.items()]
    signature = sign(token, url or address(request), pairs)
    return Callback(
        url="http://proxy.internal/callbacks/x",
        headers={"host": "proxy.internal", "x-twilio-signature": signature},
        body=urlencode(pairs).encode(),
    )


@pytest.mark.parametrize(
    "form,status",
    [
        ({"CallStatus": "queued"}, "initiated"),
        ({"CallStatus": "initiated"}, "initiated"),
        ({"CallStatus": "ringing"}, "ringing"),
        ({"CallStatus": "in-progress"}, "in-progress"),
        ({"CallStatus": "busy", "SipResponseCode": "486"}, "busy"),
        ({"CallStatus": "failed", "SipResponseCode": "480"}, "no-answer"),
        ({"CallStatus": "failed", "SipResponseCode": "404"}, "failed"),
        ({"CallStatus": "canceled"}, "canceled"),
        ({"CallStatus": "completed", "CallDuration": "12", "Empty": ""}, "completed"),
    ],
)
async def test_signed_callback_binds_the_call(
    form: dict[str, str], status: str, provider: TwilioProvider
) -> None:
    answer = await provider.read_callback(make_call(), told(make_call(), **form))
    assert isinstance(answer, Accepted | Ended)
    assert (answer.status, answer.reference) == (status, SID)


async def test_end_has_what_the_callback_told(provider: TwilioProvider) -> None:
    form = {
        "CallStatus": "completed",
        "CallDuration": "12",
        "SipResponseCode": "200",
        "AnsweredBy": "machine_end_beep",
        "RecordingUrl": "https://api.twilio.com/r",
    }
    answer = await provider.read_callback(make_call(), told(make_call(), **form))
    assert isinstance(answer, Ended)
    assert answer.result == {
        "duration_seconds": 12,
        "answered_by_voice_mail": True,
        "answered_by": "machine_end_beep",
        "recording_url": "https://api.twilio.com/r",
        "hangup_reason": "SIP 200 OK",
        "hangup_provider_code": 200,
    }


@pytest.mark.parametrize(
    "answered_by,noted",
    [
        ("machine_start", {"answered_by_voice_mail": True, "answered_by": "machine_start"}),
        ("fax", {"answered_by_voice_mail": False, "answered_by": "fax"}),
        ("human", {"answered_by_voice_mail": False, "answered_by": "human"}),
        ("unknown", {}),
    ],
)
async def test_fax_is_noted_and_is_no_voicemail(
    answered_by: str, noted: dict[str, object], provider: TwilioProvider
) -> None:
    form = {"CallStatus": "completed", "CallDuration": "3", "AnsweredBy": answered_by}
    answer = await provider.read_callback(make_call(), told(make_call(), **form))
    assert isinstance(answer, Ended)
    said = {name: value for name, value in answer.result.items() if name.startswith("answered_by")}
    assert said == noted


async def test_callback_that_proves_nothing_is_forbidden(provider: TwilioProvider) -> None:
    request, form = make_call(), {"CallStatus": "completed"}
    other = {"AccountSid": "AC" + "f" * 32, **form}
    for callback in (
        told(request, token="other", **form),
        told(request, url="http://proxy.internal/callbacks/x", **form),
        replace(told(request, **form), headers={}),
        replace(told(request, **form), body=told(request, CallStatus="busy").body),
        told(request, **other),
    ):
        with pytest.raises(Forbidden):
            await provider.read_callback(request, callback)


async def test_callback_about_another_call_is_not_believed(provider: TwilioProvider) -> None:
    bound = replace(make_call(), reference="CA" + "2" * 32)
    with pytest.raises(InvalidRequest, match="but the call is"):
        await provider.read_callback(bound, told(bound, CallStatus="completed"))
    for form in ({"CallStatus": "won"}, {"CallSid": "x", "CallStatus": "busy"}, {}):
        with pytest.raises(InvalidRequest):
            await provider.read_callback(make_call(), told(make_call(), **form))


async def test_every_page_is_read_and_none_of_another_server(
    provider: TwilioProvider, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twilio_account, "PAGE_SIZE", 2)
    for item in (1, 2, 3):
        await provider.send(make_call(item=item))
    found = await provider.ask(replace(make_call(), sent_at=datetime.now(UTC)))
    assert isinstance(found, Lost)
    assert found.code == "several_candidates"
    assert "3 calls fit" in found.message
    account = Account("phone", read_twilio(fake), SECRETS, allow_private=True)
    for following, fault in (
        ("@127.0.0.1:9/Calls.json", "on another server"),
        ("http://127.0.0.1:9/", "on another server"),
        ("/\n", "has no address"),
    ):
        monkeypatch.setattr(twilio_account, "_read_page", lambda _, at=following: ([], at))
        with pytest.raises(AnswerLost, match=fault):
            await account.list_calls({})
    await account.close()


async def test_api_key_sends_and_the_auth_token_still_checks(fake: Fake) -> None:
    secret = json.dumps({"auth_token": TOKEN, "api_key_secret": KEY_SECRET})
    provider = make_provider(fake, api_key_sid=KEY_SID, secret=secret)
    assert isinstance(await provider.send(make_call()), Accepted)
    callback = told(make_call(), CallStatus="busy")
    assert isinstance(await provider.read_callback(make_call(), callback), Ended)
    with pytest.raises(Forbidden):
        await provider.read_callback(make_call(), told(make_call(), token=KEY_SECRET))
    await provider.close()


async def test_call_from_long_before_is_not_taken_for_ours(
    provider: TwilioProvider,
) -> None:
    request = replace(make_call(), sent_at=datetime.now(UTC))
    await provider.send(request)
    found = await provider.ask(request)
    assert isinstance(found, Accepted)
    assert found.reference is not None
    later = replace(request, sent_at=request.sent_at + timedelta(minutes=3))
    for other in (later, replace(request, taken=frozenset({found.reference}))):
        assert await provider.ask(other) == NotReceived()
    restored = await provider.ask(replace(later, since=request.sent_at))
    assert isinstance(restored, Accepted)
    assert restored.reference == found.reference
    assert await provider.ask(replace(later, absences=3, delivery=40)) == NotReceived()
    worn = await provider.ask(replace(later, absences=4))
    assert isinstance(worn, Lost)
    assert worn.code == "sent_without_trace"


async def test_call_that_is_over_is_not_broken_off(provider: TwilioProvider, fake: Fake) -> None:
    fake.change(step_seconds=60)
    placed = await provider.send(make_call())
    assert isinstance(placed, Accepted)
    request = replace(make_call(), reference=placed.reference)
    assert isinstance(await provider.end(request), Ended)
    with pytest.raises(Conflict, match="over already"):
        await provider.end(request)
