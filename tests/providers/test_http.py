"""The http provider sends what the page says, and reads every answer for what it proves."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
from standardwebhooks import Webhook

from batchyard.models import Accepted, Answer, Ended, Kind, Lost, Refused, Request
from batchyard.providers.clock_checks import describe_clock
from batchyard.providers.http_answers import MARKUP_LENGTH
from batchyard.providers.http_exchange import Reply
from batchyard.testing import Arrived, HttpServer, Line
from tests.providers.http_surroundings import (
    NOW,
    SECRET,
    Handler,
    answering,
    make_provider,
    provider_over,
)
from tests.providers.requests import make_call, make_shipment


async def send(
    handler: Handler, request: Request, *, is_askable: bool = False, **settings: object
) -> Answer:
    async with provider_over(
        handler, is_askable=is_askable, clock=lambda: NOW, **settings
    ) as provider:
        return await provider.send(request)


async def test_request_carries_everything_the_page_promises() -> None:
    arrived: list[Arrived] = []

    async def handle(request: Arrived, line: Line) -> None:
        arrived.append(request)
        await line.reply(202, b"{}")

    request = make_call("+4512345678", attempt=2)
    async with provider_over(handle, secret=SECRET) as provider:
        await provider.send(request)

    [got] = arrived
    assert (got.method, got.path) == ("POST", "/do")
    assert got.headers["idempotency-key"] == request.key
    assert got.headers["content-type"] == "application/json"
    assert orjson.loads(got.body) == {
        "item": str(request.item_id),
        "batch": str(request.batch_id),
        "team": "default",
        "kind": "call",
        "attempt": 2,
        "payload": request.payload,
        "number": "+4512345678",
        "callback_url": f"https://yard.example/callbacks/{request.key}",
    }
    Webhook(SECRET).verify(got.body, dict(got.headers))
    assert got.headers["webhook-id"] == request.key


async def test_look_up_is_signed_too() -> None:
    arrived: list[Arrived] = []

    async def handle(request: Arrived, line: Line) -> None:
        arrived.append(request)
        await line.reply(404)

    request = make_call()
    async with provider_over(handle, is_askable=True, secret=SECRET) as provider:
        await provider.ask(request)

    [got] = arrived
    assert (got.method, got.path) == ("GET", f"/results/{request.key}")
    Webhook(SECRET).verify(b"", dict(got.headers), json_parse=False)


async def test_connection_is_used_again() -> None:
    lines: set[int] = set()

    async def handle(_: Arrived, line: Line) -> None:
        lines.add(line._writer.get_extra_info("peername")[1])
        await line.reply(200, b'{"status": "completed"}')

    async with provider_over(handle) as provider:
        for _ in range(5):
            await provider.send(make_call())

    assert len(lines) == 1


CALL = {"duration_seconds": 61, "cost_minor": 10, "currency": "USD", "opt_out": True, "mood": "ok"}


@pytest.mark.parametrize(
    "kind,body,expected",
    [
        (
            Kind.CALL,
            {"status": "completed", "result": CALL, "reference": "c-1"},
            Ended(status="completed", result=CALL, reference="c-1"),
        ),
        (Kind.CALL, {"status": "busy"}, Ended(status="busy")),
        (Kind.SHIPMENT, {"status": "booked"}, Ended(status="booked")),
        (
            Kind.SHIPMENT,
            {"status": "failed", "error": {"code": "no_such_street", "message": "Where?"}},
            Ended(status="failed", error_code="no_such_street", error_message="Where?"),
        ),
        (
            Kind.SHIPMENT,
            {"status": "failed", "error": "Where?"},
            Ended(status="failed", error_code="provider_failed", error_message="Where?"),
        ),
        (
            Kind.CALL,
            {"status": "failed"},
            Ended(
                status="failed",
                error_code="provider_failed",
                error_message="The provider gave no reason.",
            ),
        ),
        (Kind.CALL, {"status": "ringing"}, Accepted(status="ringing")),
    ],
)
async def test_success_ends_the_item_or_makes_it_live(
    kind: Kind, body: object, expected: Answer
) -> None:
    request = make_call() if kind is Kind.CALL else make_shipment()
    assert await send(answering(200, body), request) == expected


@pytest.mark.parametrize(
    "body,expected",
    [
        (b"", Accepted()),
        (b"{}", Accepted()),
        (b'{"reference": "r-7", "status": null}', Accepted(reference="r-7")),
        (b'{"status": "ringing", "reference": "r-7"}', Accepted(reference="r-7", status="ringing")),
        (b'{"status": "completed"}', Ended(status="completed")),
    ],
)
async def test_accepted_item_is_live_until_it_ends(body: bytes, expected: Answer) -> None:
    assert await send(answering(202, body), make_call()) == expected


async def test_live_item_of_an_askable_provider_is_looked_up_in_time() -> None:
    answer = await send(answering(202), make_call(), is_askable=True, look_up_after_seconds=20)
    assert answer == Accepted(check_at=NOW + timedelta(seconds=20))


@pytest.mark.parametrize("status", [408, 425, 429, 409, 423])
async def test_status_that_proves_nothing_was_done_is_a_refusal(status: int) -> None:
    answer = await send(answering(status, {"message": "Later"}), make_call())
    assert answer == Refused(
        code=f"http_{status}", message=f"The provider answered {status}: Later"
    )


async def test_operator_says_what_else_proves_that_nothing_was_done() -> None:
    assert isinstance(await send(answering(503), make_call(), not_done=[503]), Refused)
    assert isinstance(await send(answering(409), make_call(), not_done=[503]), Ended)


@pytest.mark.parametrize(
    "header,seconds",
    [
        ("7", 7.0),
        ("Tue, 01 Dec 2026 09:02:00 GMT", 120.0),
        ("Tue, 01 Dec 2020 09:02:00 GMT", 0.0),
        ("99999999999999999999", 86400.0),
        ("soon", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("-5", None),
        ("²", None),
        ("", None),
    ],
)
async def test_retry_after_is_read_in_both_forms(header: str, seconds: float | None) -> None:
    handler = answering(429, Retry_After=header.encode().decode("latin-1"))
    answer = await send(handler, make_call())
    assert isinstance(answer, Refused)
    assert answer.retry_after_seconds == seconds


@pytest.mark.parametrize(
    "date,told",
    [
        ("Tue, 01 Dec 2026 09:00:00 GMT", "no difference"),
        ("Tue, 01 Dec 2026 09:00:00 -0000", "no difference"),
        ("Tue, 01 Dec 2026 09:01:00 GMT", "60 s ahead"),
        ("Tue, 01 Dec 99999999999999999999 09:00:00 GMT", "did not tell"),
        ("", "did not tell"),
    ],
)
def test_clock_of_the_other_side_is_read_from_any_date(date: str, told: str) -> None:
    reply = Reply(status=200, headers={"date": date}, body=b"")
    assert told in describe_clock(reply, now=NOW)


@pytest.mark.parametrize(
    "status,body,message",
    [
        (400, {"message": "No such street"}, "The provider answered 400: No such street"),
        (401, {"error": {"message": "Bad key"}}, "The provider answered 401: Bad key"),
        (404, b"<html><style>b{}</style><b>Not\n here</b>", "The provider answered 404: Not here"),
        (404, b"<b>Not" + b" " * MARKUP_LENGTH + b"here", "The provider answered 404: Not"),
        (404, b"Not here<style>" + b"b{}" * 9000, "The provider answered 404: Not here"),
        (410, {"error": "a\0b" * 1000}, f"The provider answered 410: {'a�b' * 166}a…"),
        (422, [1, 2], "The provider answered 422."),
        (451, b"", "The provider answered 451."),
        (418, b"\xff", "The provider answered 418: �"),
        (301, b"", "The provider answered 301; redirects are not followed."),
        (307, b"", "The provider answered 307; redirects are not followed."),
    ],
)
async def test_other_refusals_are_permanent(status: int, body: object, message: str) -> None:
    handler = answering(status, body, Location="/elsewhere")
    booking, call = await send(handler, make_shipment()), await send(handler, make_call())
    refused = Ended(
        status="failed", error_code=f"http_{status}", error_message=message, is_refusal=True
    )
    assert booking == refused
    assert call == replace(refused, status="error")


async def test_redirect_is_not_followed() -> None:
    paths: list[str] = []

    async def handle(request: Arrived, line: Line) -> None:
        paths.append(request.path)
        await line.reply(307, headers={"Location": "/elsewhere"})

    await send(handle, make_call())
    assert paths == ["/do"]


@pytest.mark.parametrize(
    "status,body",
    [
        (500, b""),
        (502, b"<html>Bad Gateway"),
        (503, b"{}"),
        (599, b""),
        (204, b""),
        (200, b""),
        (200, b"{}"),
        (200, b"[]"),
        (200, b"null"),
        (200, b"<html><p>Hello"),
        (200, b'{"status": "\xff"}'),
        (200, b'{"status": "done"}'),
        (200, b'{"status": "booked"}'),
        (200, b'{"status": 5}'),
        (200, b'{"status": "stopped"}'),
        (200, b'{"status": "completed", "result": []}'),
        (200, b'{"status": "completed", "result": {"duration_seconds": "long"}}'),
        (200, b'{"status": "completed", "result": {"duration_seconds": NaN}}'),
        (200, b'{"status": "completed", "result": {"duration_seconds": 1e999}}'),
        (200, b'{"status": "completed", "result": {"currency": "dollars"}}'),
        (200, b'{"status": "completed", "result": {"recording_url": "javascript:alert(1)"}}'),
        (200, b'{"status": "completed", "result": {"x":' + b"[" * 200 + b"]" * 200 + b"}}"),
        (200, b'{"status": "completed", "result": {"x": "' + b"x" * 1_100_000 + b'"}}'),
        (200, b'{"status": "completed", "reference": ""}'),
        (202, b"<html>"),
        (202, b"[]"),
    ],
)
async def test_answer_that_proves_nothing_is_lost(status: int, body: bytes) -> None:
    answer = await send(answering(status, body), make_call())
    assert isinstance(answer, Lost)
    assert len(answer.message) <= 600


async def test_answer_that_is_too_large_is_lost() -> None:
    body = b'{"status": "completed"}' + b" " * 6 * 1024**2
    answer = await send(answering(200, body), make_call())
    assert isinstance(answer, Lost)
    assert answer.code == "answer_too_large"


async def test_compressed_answer_is_not_unpacked() -> None:
    answer = await send(answering(200, b"\x1f\x8b", Content_Encoding="gzip"), make_call())
    assert answer == Lost(
        code="answer_encoded", message="The answer is compressed, which was not asked for."
    )


async def test_zero_characters_do_not_reach_the_database() -> None:
    body = b'{"status": "completed", "result": {"transcript": "a\\u0000b", "\\u0000": ["\\u0000"]}}'
    answer = await send(answering(200, body), make_call())
    assert isinstance(answer, Ended)
    assert answer.result == {"transcript": "a\ufffdb", "\ufffd": ["\ufffd"]}


async def test_answer_that_comes_too_slowly_is_lost() -> None:
    async def drip(_: Arrived, line: Line) -> None:
        await line.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await line.write(b" ")
            await asyncio.sleep(0.02)

    answer = await send(drip, make_call(), timeout_seconds=0.3)
    assert answer == Lost(code="timeout", message="The provider did not answer in time.")


async def test_refusal_with_an_endless_body_is_a_refusal_all_the_same() -> None:
    async def pour(_: Arrived, line: Line) -> None:
        await line.write(b"HTTP/1.1 429 Slow\r\n\r\n")
        while True:
            await line.write(b"x" * 65536)

    assert isinstance(await send(pour, make_call()), Refused)


async def test_cookies_are_not_kept() -> None:
    cookies: list[str | None] = []

    async def handle(request: Arrived, line: Line) -> None:
        cookies.append(request.headers.get("cookie"))
        await line.reply(202, headers={"Set-Cookie": "a=b; Path=/"})

    async with provider_over(handle) as provider:
        await provider.send(make_call())
        await provider.send(make_call())
    assert cookies == [None, None]


async def test_large_payload_with_large_numbers_arrives() -> None:
    payload = {"n": 10**40, "text": "æ" * 3_000_000}
    got: list[bytes] = []

    async def handle(request: Arrived, line: Line) -> None:
        got.append(request.body)
        await line.reply(202)

    await send(handle, make_call(payload=payload))
    assert str(10**40).encode() in got[0]


async def test_closing_waits_for_what_is_out_and_takes_nothing_new() -> None:
    may_answer = asyncio.Event()
    has_arrived = asyncio.Event()

    async def handle(_: Arrived, line: Line) -> None:
        has_arrived.set()
        await may_answer.wait()
        await line.reply(200, b'{"status": "completed"}')

    async with HttpServer(handle) as server:
        provider = make_provider(server.url)
        out = asyncio.create_task(provider.send(make_call()))
        await has_arrived.wait()
        closing = asyncio.create_task(provider.close())
        await asyncio.sleep(0)
        assert isinstance(await provider.send(make_call(item=8)), Refused)
        assert not closing.done()
        may_answer.set()
        assert await out == Ended(status="completed")
        await closing
