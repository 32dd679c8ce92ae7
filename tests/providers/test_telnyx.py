"""What the telnyx provider sends, and what it makes of each answer."""

import base64
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from nacl.signing import SigningKey

from batchyard.errors import ConfigError, Conflict, Forbidden, InvalidRequest, ProviderError
from batchyard.models import Accepted, Answer, Ended, Lost, NotReceived, Policy, Rate, Refused
from batchyard.providers.base import Callback, Surroundings
from batchyard.providers.http_exchange import Reply
from batchyard.providers.telnyx import TelnyxProvider
from batchyard.providers.telnyx_answers import read_channel_limit, read_refusal
from batchyard.providers.telnyx_settings import TelnyxSettings
from tests.providers.fakes.process import Fake
from tests.providers.fakes.telnyx_legs import (
    CONNECTION,
    OTHER_KEY,
    OWNED,
    PAGE_SIZE,
    PUBLIC_KEY,
    SIGNING_KEY,
)
from tests.providers.requests import make_call
from tests.providers.telephony import PATIENT_SECONDS, TELNYX_SECRET, telnyx_settings
from tests.providers.twilio_surroundings import address

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
STATE = base64.b64encode(make_call().key.encode()).decode()


def make_provider(fake: Fake, *, secret: str = TELNYX_SECRET, **changes: object) -> TelnyxProvider:
    return TelnyxProvider(
        Surroundings(
            name="phone",
            clock=lambda: NOW,
            report=lambda _key, _answer: None,
            settings=telnyx_settings(
                fake,
                **{
                    "say": "Hello {first_name}.",
                    "timeout_seconds": PATIENT_SECONDS,
                    **changes,
                },
            ),
            secret=secret,
            allow_private=True,
            callback_address=address,
        )
    )


@pytest.fixture
def fake(telnyx_server: Fake) -> Iterator[Fake]:
    """Lend the fake with a clean ledger; afterwards nobody may have broken the rules."""
    telnyx_server.change(step_seconds=60)
    yield telnyx_server
    assert telnyx_server.violations() == []


@pytest.fixture
async def provider(fake: Fake) -> AsyncIterator[TelnyxProvider]:
    provider = make_provider(fake)
    yield provider
    await provider.close()


async def test_dial_is_one_call_however_often_its_key_is_sent(
    provider: TelnyxProvider, fake: Fake
) -> None:
    first = await provider.send(make_call())
    again = await provider.send(make_call(delivery=2))
    assert isinstance(first, Accepted)
    assert first.reference is not None
    assert isinstance(again, Accepted)
    assert again.reference is None
    assert list(fake.per_item().values()) == [1]
    found = await provider.ask(make_call())
    assert isinstance(found, Accepted)
    assert found.reference == first.reference
    assert await provider.ask(make_call(item=8)) == NotReceived()


@pytest.mark.parametrize("pages_by", ["number", "cursor", "next", "nothing"])
async def test_every_page_of_live_calls_is_read(
    pages_by: str, provider: TelnyxProvider, fake: Fake
) -> None:
    fake.change(step_seconds=60, callback_faults={"lost": 1}, pages_by=pages_by)
    placed = [await provider.send(make_call(item=n)) for n in range(1, PAGE_SIZE + 2)]
    for n, first in ((1, placed[0]), (PAGE_SIZE + 1, placed[-1])):
        found = await provider.ask(make_call(item=n))
        assert isinstance(first, Accepted)
        assert isinstance(found, Accepted)
        assert found.reference == first.reference
    assert await provider.ask(make_call(item=PAGE_SIZE + 2)) == NotReceived()


async def test_dial_says_what_the_settings_and_the_row_say(fake: Fake) -> None:
    request = make_call()
    speaking = make_provider(fake, record=True, machine_detection="greeting_end", call_seconds=90)
    playing = make_provider(fake, say=None, audio_url="https://audio.example/a.mp3")
    for provider in (speaking, playing):
        assert isinstance(await provider.send(request), Accepted)
        await provider.close()
    spoken, played = fake.asked()
    assert spoken == {
        "connection_id": CONNECTION,
        "to": request.number,
        "from": OWNED,
        "command_id": request.key,
        "client_state": STATE,
        "webhook_url": address(request),
        "webhook_url_method": "POST",
        "timeout_secs": 60,
        "time_limit_secs": 90,
        "answering_machine_detection": "greeting_end",
        "record": "record-from-answer",
        "record_format": "mp3",
    }
    assert played["audio_url"] == "https://audio.example/a.mp3"


async def test_row_without_its_variable_is_not_called(provider: TelnyxProvider, fake: Fake) -> None:
    answer = await provider.send(make_call(payload={}))
    assert isinstance(answer, Ended)
    assert (answer.status, answer.error_code) == ("error", "variable_missing")
    assert answer.is_refusal
    assert fake.per_item() == {}


@pytest.mark.parametrize(
    "number,changes,status,code",
    [
        ("20123456", {}, "failed", "telnyx_10016"),
        ("+4520123456", {"from_number": "+4511223344"}, "error", "telnyx_10002"),
        ("+4520123456", {"connection_id": "7"}, "error", "telnyx_10006"),
    ],
)
async def test_refused_dial_ends_the_item_in_the_vendors_words(
    number: str, changes: dict[str, str], status: str, code: str, fake: Fake
) -> None:
    provider = make_provider(fake, **changes)
    answer = await provider.send(make_call(number))
    await provider.close()
    assert isinstance(answer, Ended)
    assert (answer.status, answer.error_code) == (status, code)
    assert answer.is_refusal


def errors(code: str, detail: str = "d") -> bytes:
    return json.dumps({"errors": [{"code": code, "title": "t", "detail": detail}]}).encode()


@pytest.mark.parametrize(
    "status,body,expected",
    [
        (429, errors("90103"), Refused(code="telnyx_90103", message="", retry_after_seconds=1)),
        (429, errors("10011"), Refused(code="telnyx_10011", message="", retry_after_seconds=1)),
        (401, errors("10009"), Refused(code="telnyx_10009", message="", stops_provider=True)),
        (403, errors("10010"), Refused(code="telnyx_10010", message="", stops_provider=True)),
        (
            403,
            errors("10010", "User channel limit exceeded D1"),
            Refused(code="telnyx_10010", message="", retry_after_seconds=5),
        ),
        (401, b"<html>", Lost(code="telnyx_error", message="")),
        (422, b"", Lost(code="telnyx_error", message="")),
        (404, errors("10005"), Lost(code="telnyx_10005", message="")),
        (500, errors("10007"), Lost(code="telnyx_10007", message="")),
        (503, b"", Lost(code="telnyx_error", message="")),
    ],
)
def test_only_what_is_on_the_list_proves_that_nobody_was_called(
    status: int, body: bytes, expected: Answer
) -> None:
    reply = Reply(status=status, headers={}, body=body)
    answer = read_channel_limit(reply) or read_refusal(reply, now=NOW)
    assert isinstance(answer, Refused | Lost)
    assert replace(answer, message="") == expected


async def test_dial_without_a_free_channel_is_refused_and_a_repeated_one_decides_nothing(
    provider: TelnyxProvider, fake: Fake
) -> None:
    fake.order("channels_used_up", "channels_used_up")
    first = await provider.send(make_call())
    assert isinstance(first, Refused)
    assert (first.code, first.retry_after_seconds) == ("telnyx_90041", 5)
    again = await provider.send(replace(make_call(), is_repeat=True))
    assert isinstance(again, Ended)
    assert again.is_refusal
    assert list(fake.per_item().values()) == [0]


def told(
    kind: str, *, key: SigningKey = SIGNING_KEY, at: datetime = NOW, **payload: object
) -> Callback:
    common = {"call_control_id": "v3:1", "client_state": STATE}
    data = {"event_type": kind, "occurred_at": NOW.isoformat(), "payload": common | payload}
    body, stamp = json.dumps({"data": data}).encode(), str(int(at.timestamp()))
    signature = key.sign(f"{stamp}|".encode() + body).signature
    return Callback(
        url="http://proxy.internal/",
        headers={
            "telnyx-timestamp": stamp,
            "telnyx-signature-ed25519": base64.b64encode(signature).decode(),
        },
        body=body,
    )


@pytest.mark.parametrize(
    "cause,sip,status",
    [
        ("user_busy", "486", "busy"),
        ("no_answer", "480", "no-answer"),
        ("timeout", "487", "no-answer"),
        ("originator_cancel", "487", "canceled"),
        ("call_rejected", "603", "busy"),
        ("call_rejected", "403", "failed"),
        ("not_found", "404", "failed"),
        ("unspecified", "unspecified", "failed"),
        ("normal_clearing", "200", "completed"),
        ("normal_clearing", "487", "no-answer"),
        ("time_limit", "487", "no-answer"),
    ],
)
async def test_cause_of_a_hang_up_is_mapped(
    cause: str, sip: str, status: str, provider: TelnyxProvider
) -> None:
    callback = told("call.hangup", hangup_cause=cause, sip_hangup_cause=sip)
    answer = await provider.read_callback(make_call(), callback)
    assert isinstance(answer, Ended)
    assert (answer.status, answer.reference) == (status, "v3:1")
    assert cause in str(answer.result["hangup_reason"])


async def test_answered_call_is_spoken_to_at_once_and_timed(provider: TelnyxProvider) -> None:
    request = make_call()
    answered = await provider.read_callback(request, told("call.answered"))
    assert isinstance(answered, Accepted)
    assert (answered.status, answered.check_at, answered.reference) == ("in-progress", NOW, "v3:1")
    request = replace(request, known_result=answered.result, reference="v3:1")
    ended = await provider.read_callback(
        request, told("call.hangup", hangup_cause="time_limit", hangup_source="caller")
    )
    assert isinstance(ended, Ended)
    assert ended.status == "completed"
    assert ended.result == {
        "duration_seconds": 0,
        "hangup_reason": "time_limit",
        "hangup_by": "caller",
    }


async def test_greeting_of_a_machine_is_waited_for(fake: Fake) -> None:
    provider = make_provider(fake, machine_detection="greeting_end")
    request = make_call()
    for kind, is_due in (
        ("call.answered", False),
        ("call.machine.detection.ended", False),
        ("call.machine.greeting.ended", True),
    ):
        answer = await provider.read_callback(request, told(kind, result="machine"))
        assert isinstance(answer, Accepted)
        assert (answer.check_at == NOW) is is_due
        request = replace(request, known_result=answer.result)
    await provider.close()
    assert request.known_result is not None
    assert request.known_result["answered_by_voice_mail"] is True


async def test_webhook_that_proves_nothing_is_forbidden(provider: TelnyxProvider) -> None:
    good = told("call.hangup", hangup_cause="user_busy")
    for callback in (
        told("call.hangup", key=OTHER_KEY),
        told("call.hangup", at=NOW - timedelta(minutes=6)),
        replace(good, headers={}),
        replace(good, body=good.body + b" "),
    ):
        with pytest.raises(Forbidden):
            await provider.read_callback(make_call(), callback)


async def test_webhook_about_another_call_is_not_believed(provider: TelnyxProvider) -> None:
    for request, callback in (
        (make_call(), told("call.hangup", client_state="b3RoZXI=")),
        (replace(make_call(), reference="v3:2"), told("call.hangup")),
    ):
        with pytest.raises(InvalidRequest):
            await provider.read_callback(request, callback)


async def test_call_that_is_over_is_not_hung_up(provider: TelnyxProvider) -> None:
    with pytest.raises(Conflict, match="over already"):
        await provider.end(replace(make_call(), reference="v3:gone"))


async def test_check_says_whose_calls_these_are(provider: TelnyxProvider, fake: Fake) -> None:
    said = await provider.check()
    assert said[0].startswith("LIVE: calls reach real people")
    assert said[1:3] == [f"Telnyx API v2, at {fake.url}/v2.", f"{OWNED} belongs to the account."]
    assert said[3].startswith("Clock: theirs is ")
    for changes, fault in (
        ({"secret": '{"api_key": "KEY1"}'}, "API key is not taken"),
        ({"connection_id": "7"}, "no Call Control application 7"),
        ({"from_number": "+4511223344"}, "does not belong to the account"),
    ):
        other = make_provider(fake, **changes)
        with pytest.raises(ProviderError, match=fault):
            await other.check()
        await other.close()


async def test_check_says_what_the_key_may_not_see(provider: TelnyxProvider, fake: Fake) -> None:
    fake.change(closed=["call_control_applications", "phone_numbers"])
    said = await provider.check()
    assert said[2:4] == [
        "Whether the account has the application cannot be asked: 403.",
        f"Whether {OWNED} belongs to the account cannot be asked: 403.",
    ]


async def test_settings_make_promise_and_pace(provider: TelnyxProvider) -> None:
    assert provider.promise.policy is Policy.REPEATABLE
    assert provider.promise.is_one_sided
    defaults = TelnyxSettings.model_validate(
        {"connection_id": CONNECTION, "public_key": PUBLIC_KEY, "say": "Hello."}
    )
    assert defaults.promise.key_ttl == timedelta(seconds=40)
    assert provider.rate == Rate(count=1620, seconds=60)


@pytest.mark.parametrize(
    "changes,fault",
    [
        ({"public_key": "YQ=="}, "public_key: has 1 bytes"),
        ({"say": None}, "say: give it or audio_url"),
        ({"say": "<Response/>"}, "this is TwiML"),
        ({"say": "Hi }"}, "say: "),
        ({"key_ttl_seconds": 0.5}, "key_ttl_seconds"),
        ({"key_ttl_seconds": 41}, "key_ttl_seconds: .* less than or equal to 40"),
        ({"connection_id": ""}, "connection_id"),
        ({"secret": "{}"}, "api_key"),
    ],
)
def test_wrong_setting_is_named(changes: dict[str, object], fault: str, fake: Fake) -> None:
    with pytest.raises(ConfigError, match=fault):
        make_provider(fake, **changes)  # type: ignore[arg-type]
