"""What the http provider makes of callbacks and look-ups, and how it checks itself."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from batchyard.errors import ConfigError, Forbidden, InvalidRequest, ProviderError
from batchyard.models import (
    Accepted,
    Answer,
    Document,
    Ended,
    Finding,
    Kind,
    Lost,
    NotReceived,
    Policy,
)
from batchyard.testing import Arrived, HttpServer, Line
from tests.providers.http_surroundings import (
    NOW,
    SECRET,
    answering,
    callback,
    make_provider,
    provider_over,
)
from tests.providers.requests import make_call, make_shipment

URL = "https://carrier.example/do"


async def read(kind: Kind, body: object, **settings: object) -> Answer:
    provider = make_provider(URL, clock=lambda: NOW, **settings)  # type: ignore[arg-type]
    request = make_call() if kind is Kind.CALL else make_shipment()
    try:
        return await provider.read_callback(request, callback(body))
    finally:
        await provider.close()


@pytest.mark.parametrize(
    "kind,body,expected",
    [
        (Kind.CALL, {"status": "ringing"}, Accepted(status="ringing")),
        (Kind.CALL, {"status": "no-answer"}, Ended(status="no-answer")),
        (
            Kind.CALL,
            {"status": "completed", "result": {"transcript": "Hello"}, "reference": "c"},
            Ended(status="completed", result={"transcript": "Hello"}, reference="c"),
        ),
        (
            Kind.SHIPMENT,
            {"status": "failed", "error": {"code": "x", "message": "y"}},
            Ended(status="failed", error_code="x", error_message="y"),
        ),
        (
            Kind.SHIPMENT,
            {
                "status": "booked",
                "result": {"documents": [{"kind": "label", "format": "png", "base64": "YQ=="}]},
            },
            Ended(
                status="booked",
                documents=[Document(kind="label", format="png", content=b"a")],
            ),
        ),
    ],
)
async def test_callback_moves_or_ends_the_item(kind: Kind, body: object, expected: Answer) -> None:
    assert await read(kind, body) == expected


async def test_callback_does_not_wait_for_documents() -> None:
    document = {"kind": "label", "format": "pdf", "url": "https://carrier.example/label.pdf"}
    body = {"status": "booked", "result": {"documents": [document]}}
    kept = await read(Kind.SHIPMENT, body)
    assert isinstance(kept, Accepted)
    assert kept.check_at == NOW
    assert kept.result is not None
    assert kept.result["documents"] == [document]


async def test_intermediate_news_keeps_the_next_look_up() -> None:
    news = await read(
        Kind.CALL, {"status": "ringing"}, policy="askable", result_url=URL, look_up_after_seconds=9
    )
    assert news == Accepted(status="ringing", check_at=NOW + timedelta(seconds=9))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b'"completed"',
        b"{}",
        b'{"status": "won"}',
        b'{"status": "booked"}',
        b'{"status": "completed", "result": {"opt_out": "yes"}}',
        b"\xff",
        b"[" * 100_000,
    ],
)
async def test_malformed_callback_is_an_invalid_request(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        await read(Kind.CALL, body)


def signed(body: bytes, secret: str = SECRET, **changed: str) -> dict[str, str]:
    at = datetime.now(UTC)
    return {
        "webhook_id": "msg-1",
        "webhook_timestamp": str(int(at.timestamp())),
        "webhook_signature": Webhook(secret).sign("msg-1", at, body.decode()),
    } | changed


async def test_callback_with_a_right_signature_is_believed() -> None:
    body = b'{"status": "busy"}'
    provider = make_provider(URL, secret=SECRET)
    arrived = callback(body, **signed(body))
    assert await provider.read_callback(make_call(), arrived) == Ended(status="busy")
    await provider.close()


async def test_callback_without_a_signature_is_believed_for_its_address() -> None:
    provider = make_provider(URL, secret=SECRET)
    arrived = callback({"status": "busy"})
    assert await provider.read_callback(make_call(), arrived) == Ended(status="busy")
    await provider.close()


@pytest.mark.parametrize(
    "headers",
    [
        signed(b'{"status": "completed"}'),
        signed(b'{"status": "busy"}', secret="whsec_b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXI="),
        signed(b'{"status": "busy"}', webhook_timestamp="1700000000"),
        signed(b'{"status": "busy"}', webhook_timestamp="soon"),
        signed(b'{"status": "busy"}', webhook_id="msg-2"),
        signed(b'{"status": "busy"}', webhook_signature="v1,æ"),
        signed(b'{"status": "busy"}', webhook_signature="nonsense"),
        signed(b'{"status": "busy"}', webhook_signature=""),
        {"webhook_signature": "v1,YQ=="},
    ],
)
async def test_callback_with_a_wrong_signature_is_forbidden(headers: dict[str, str]) -> None:
    provider = make_provider(URL, secret=SECRET)
    with pytest.raises(Forbidden):
        await provider.read_callback(make_call(), callback(b'{"status": "busy"}', **headers))
    with pytest.raises(Forbidden):
        await provider.read_callback(make_call(), callback(b"\xff", **headers))
    await provider.close()


async def look_up(status: int, body: object = b"", *, elapsed: float = 60) -> Finding:
    async with provider_over(
        answering(status, body), is_askable=True, clock=lambda: NOW
    ) as provider:
        sent_at = NOW - timedelta(seconds=elapsed)
        return await provider.ask(replace(make_call(), sent_at=sent_at))


async def test_look_up_finds_what_became_of_a_key() -> None:
    assert await look_up(200, {"status": "busy"}) == Ended(status="busy")
    assert await look_up(404) == NotReceived()


@pytest.mark.parametrize("elapsed,pause", [(0, 5), (60, 30), (600, 300), (86400, 900)])
async def test_live_item_is_looked_up_more_and_more_rarely(elapsed: float, pause: float) -> None:
    check_at = NOW + timedelta(seconds=pause)
    found = await look_up(202, elapsed=elapsed)
    ringing = await look_up(200, {"status": "ringing"}, elapsed=elapsed)
    assert found == Accepted(check_at=check_at)
    assert ringing == Accepted(status="ringing", check_at=check_at)


@pytest.mark.parametrize(
    "status", [200, 204, 301, 400, 401, 403, 405, 409, 410, 425, 429, 500, 503]
)
async def test_every_other_look_up_decides_nothing(status: int) -> None:
    assert isinstance(await look_up(status, b"<html>"), Lost)


async def test_look_up_keeps_the_query_of_its_address() -> None:
    paths: list[str] = []

    async def handle(arrived: Arrived, line: Line) -> None:
        paths.append(arrived.path)
        await line.reply(404)

    async with HttpServer(handle) as server:
        provider = make_provider(URL, result_url=f"{server.url}/a%20b/?version=2")
        await provider.ask(make_call())
        await provider.close()
    assert paths == [f"/a%20b/{make_call().key}?version=2"]


async def test_provider_that_cannot_be_asked_says_so() -> None:
    provider = make_provider(URL)
    assert isinstance(await provider.ask(make_call()), Lost)
    await provider.close()


async def test_check_reaches_the_provider_without_an_effect() -> None:
    arrived: list[str] = []

    async def handle(request: Arrived, line: Line) -> None:
        arrived.append(request.method)
        await line.reply(404)

    async with provider_over(handle, is_askable=True, secret=SECRET) as provider:
        assert list(await provider.check()) == []
    assert arrived == ["GET"]


async def test_check_remarks_on_what_will_surprise() -> None:
    async with provider_over(answering(200, b"{}"), is_askable=True) as provider:
        remarks = " ".join(await provider.check())
    assert "No secret" in remarks
    assert "answers 200 to a key it never received" in remarks
    async with provider_over(answering(200)) as provider:
        assert "waits for a person" in " ".join(await provider.check())


async def test_check_of_an_unreachable_provider_is_a_provider_error() -> None:
    provider = make_provider("http://127.0.0.1:9")
    with pytest.raises(ProviderError, match="cannot be reached"):
        await provider.check()
    await provider.close()
    provider = make_provider("http://127.0.0.1:9", allow_private=False)
    with pytest.raises(ProviderError, match="may not be reached"):
        await provider.check()
    await provider.close()


@pytest.mark.parametrize(
    "settings,fault",
    [
        ({"url": "carrier"}, "url: 'carrier' must begin with"),
        ({"url": None}, "url"),
        ({"policy": "sometimes"}, "policy"),
        ({"policy": "askable"}, "result_url: an askable provider needs it"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"timeout_seconds": "nan"}, "timeout_seconds"),
        ({"result_url": "ftp://x"}, "result_url"),
        ({"not_done": [200]}, "not_done"),
        ({"not_done": "409"}, "not_done"),
        ({"policy": "repeatable", "key_ttl_seconds": 5}, "key_ttl_seconds"),
        ({"key_ttl_seconds": -1}, "key_ttl_seconds"),
        ({"ask_settles_after_seconds": -1}, "ask_settles_after_seconds"),
        ({"look_up_after_seconds": 0}, "look_up_after_seconds"),
        ({"concurrency": 0}, "concurrency"),
        ({"retries": 3}, "retries"),
        ({"secret": "short"}, "must be whsec_"),
        ({"secret": "whsec_%%%"}, "must be whsec_"),
    ],
)
def test_wrong_setting_is_named(settings: dict[str, object], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault) as caught:
        make_provider(**{"url": URL} | settings)  # type: ignore[arg-type]
    assert "carrier" in caught.value.message


async def test_settings_make_the_promise() -> None:
    plain = make_provider(URL)
    assert plain.promise.policy is Policy.NEITHER
    assert not plain.promise.is_askable
    assert plain.concurrency == 40
    full = make_provider(
        URL,
        policy="repeatable",
        result_url=f"{URL}/results",
        timeout_seconds=10,
        key_ttl_seconds=3600,
        ask_settles_after_seconds=3,
        concurrency=7,
    )
    assert full.promise.policy is Policy.REPEATABLE
    assert full.promise.is_askable
    assert full.promise.timeout >= timedelta(seconds=10)
    assert full.promise.key_ttl == timedelta(hours=1)
    assert full.promise.ask_settles_after == timedelta(seconds=3)
    assert full.concurrency == 7
    await plain.close()
    await full.close()
