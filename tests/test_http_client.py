"""What goes out is what was asked for, and what comes back is read no further than it should."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest

from batchyard import __version__
from batchyard.network import ConnectionLost, HttpClient, Response, Sending, Unreachable
from batchyard.testing import Arrived, HttpServer, Line
from tests.look_ups import find_nothing, resolve_to

HEADERS = {
    "accept": "*/*",
    "accept-encoding": "gzip, deflate",
    "connection": "keep-alive",
    "user-agent": f"batchyard/{__version__}",
}


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    async with HttpClient(allow_private=True, timeout_seconds=60) as client:
        yield client


class Echo:
    """Remembers what arrived, and answers as it was told."""

    def __init__(
        self, status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        self.arrived: list[Arrived] = []
        self._answer = (status, body, headers)

    async def handle(self, arrived: Arrived, line: Line) -> None:
        self.arrived.append(arrived)
        status, body, headers = self._answer
        await line.reply(status, body, headers=headers)


async def exchange(
    client: HttpClient, url: str, *, method: str = "GET", body: bytes = b"", **headers: str
) -> tuple[Response, bytes]:
    request = client.send(method, httpx.URL(url), headers=headers, body=body)
    async with request as response:
        return response, await response.read(at_most=10_000_000)


async def test_request_has_these_headers_and_no_others(client: HttpClient) -> None:
    echo = Echo()
    async with HttpServer(echo.handle) as server:
        host = {"host": f"127.0.0.1:{server.port}"}
        await exchange(client, server.url)
        await exchange(client, server.url, method="POST")
        await exchange(client, server.url, method="POST", body=b"{}", Accept="text/plain")
    get, empty, post = (arrived.headers for arrived in echo.arrived)
    assert get == host | HEADERS
    assert empty == host | HEADERS | {"content-length": "0"}
    assert post == host | HEADERS | {"content-length": "2", "accept": "text/plain"}


@pytest.mark.parametrize(
    "written,sent",
    [
        ("", "/"),
        ("?", "/?"),
        ("/book?", "/book?"),
        ("?x=1", "/?x=1"),
        ("/%7Eyard/%2fa%2Fb?x=%20&y=a+b", "/%7Eyard/%2fa%2Fb?x=%20&y=a+b"),
        ("/a b/ø?q=€", "/a%20b/%C3%B8?q=%E2%82%AC"),
        ("//twice//?a=b?c/d", "//twice//?a=b?c/d"),
        ("/'()*!$&+,;=:@", "/'()*!$&+,;=:@"),
        ("/x?a[]=1&b={z}|^`", "/x?a[]=1&b={z}|^`"),
        ("/50%&100%zz", "/50%&100%zz"),
        ("/x#part", "/x"),
    ],
)
async def test_url_goes_out_as_it_was_written(client: HttpClient, written: str, sent: str) -> None:
    echo = Echo()
    async with HttpServer(echo.handle) as server:
        await exchange(client, server.url + written)
    assert [arrived.path for arrived in echo.arrived] == [sent]


@pytest.mark.parametrize("host", ["LOCALHOST", "127.1", "2130706433"])
async def test_host_goes_out_as_it_was_written(client: HttpClient, host: str) -> None:
    echo = Echo()
    async with HttpServer(echo.handle) as server:
        await exchange(client, f"http://{host}:{server.port}/")
        assert echo.arrived[0].headers["host"] == f"{host.lower()}:{server.port}"


async def test_name_with_a_final_dot_keeps_it(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo = Echo()
    asked = resolve_to(monkeypatch, "127.0.0.1")
    async with HttpServer(echo.handle) as server:
        await exchange(client, f"http://carrier.example.:{server.port}/")
        assert echo.arrived[0].headers["host"] == f"carrier.example.:{server.port}"
    assert asked == ["carrier.example."]


async def test_user_and_password_of_a_url_are_sent(client: HttpClient) -> None:
    echo = Echo()
    async with HttpServer(echo.handle) as server:
        await exchange(client, f"http://u:p%20w@127.0.0.1:{server.port}/")
    assert echo.arrived[0].headers["authorization"] == "Basic dTpwIHc="


async def test_large_body_arrives_whole(client: HttpClient) -> None:
    body = bytes(range(256)) * 20_000
    echo = Echo()
    async with HttpServer(echo.handle) as server:
        await exchange(client, server.url, method="POST", body=body)
    assert echo.arrived[0].body == body
    assert set(echo.arrived[0].headers) == {"host", "content-length", *HEADERS}


async def test_header_that_cannot_be_sent_breaks_only_its_request(client: HttpClient) -> None:
    echo = Echo()
    async with HttpServer(echo.handle) as server:
        with pytest.raises(ConnectionLost, match="header"):
            await exchange(client, server.url, key="a\r\nX: b")
        await exchange(client, server.url)
    assert len(echo.arrived) == 1


async def test_redirect_is_not_followed_and_no_cookie_is_kept(client: HttpClient) -> None:
    echo = Echo(302, headers={"Location": "/elsewhere", "Set-Cookie": "a=b; Path=/"})
    async with HttpServer(echo.handle) as server:
        for _ in range(2):
            response, _ = await exchange(client, f"http://localhost:{server.port}/here")
            assert (response.status, response.is_success) == (302, False)
    assert [arrived.path for arrived in echo.arrived] == ["/here", "/here"]
    assert not any("cookie" in arrived.headers for arrived in echo.arrived)


async def test_answer_is_told_as_it_came(client: HttpClient) -> None:
    async def handle(_: Arrived, line: Line) -> None:
        await line.write(
            b"HTTP/1.1 200 OK\r\nX-One: a\r\nx-one: b\r\nX-Two: \xc3\xb8\r\nX-Three: \xf8\r\n"
            b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
        )

    async with HttpServer(handle) as server:
        response, body = await exchange(client, server.url)
    assert response.headers == {
        "x-one": "a, b",
        "x-two": "ø",
        "x-three": "ø",
        "content-encoding": "gzip",
        "content-length": "3",
    }
    assert body == b"abc"


async def test_head_of_an_answer_may_be_long(client: HttpClient) -> None:
    echo = Echo(headers={"Content-Security-Policy": "x" * 20_000})
    async with HttpServer(echo.handle) as server:
        response, _ = await exchange(client, server.url)
    assert len(response.headers["content-security-policy"]) == 20_000


async def test_endless_body_is_read_no_further_than_asked(client: HttpClient) -> None:
    async def pour(_: Arrived, line: Line) -> None:
        await line.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await line.write(b"x" * 65536)

    async with HttpServer(pour) as server:
        async with client.send("GET", httpx.URL(server.url), headers={}) as response:
            body = await response.read(at_most=100_000)
        assert 100_000 < len(body) < 1_000_000


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n|zz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n|!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab|!",
        b"HTTP/1.1 200 OK\r\nConte|!",
        b"garbage\r\n\r\n",
    ],
)
async def test_answer_that_breaks_off_is_waited_for_no_longer(
    client: HttpClient, answer: bytes
) -> None:
    """`|` parts what is sent a moment apart; `!` closes."""

    async def say(_: Arrived, line: Line) -> None:
        for part in answer.split(b"|"):
            if part == b"!":
                line.close()
                return
            await line.write(part)
            await asyncio.sleep(0.05)
        await line.hang()

    async with HttpServer(say) as server:
        sending = Sending()
        async with asyncio.timeout(30):
            with pytest.raises(ConnectionLost):
                async with client.send(
                    "GET", httpx.URL(server.url), headers={}, sending=sending
                ) as response:
                    await response.read(at_most=100)
    assert sending.has_begun


async def test_reason_names_no_url(client: HttpClient) -> None:
    async def hang_up(_: Arrived, line: Line) -> None:
        line.reset()

    async with HttpServer(hang_up) as server:
        for method, body in (("GET", b""), ("POST", b"x" * 5_000_000)):
            with pytest.raises(ConnectionLost) as caught:
                await exchange(client, f"{server.url}/secret", method=method, body=body)
            assert "secret" not in caught.value.message
            assert caught.value.message


async def test_timeout_tells_whether_anything_was_sent() -> None:
    async def hang(_: Arrived, line: Line) -> None:
        await line.hang()

    sending = Sending()
    # So long it may take to connect, too.
    async with HttpServer(hang) as server, HttpClient(allow_private=True, timeout_seconds=2) as c:
        with pytest.raises(TimeoutError):
            async with c.send("GET", httpx.URL(server.url), headers={}, sending=sending):
                pass
    assert sending.has_begun


async def test_failed_look_up_tells_that_nothing_was_sent(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_nothing(monkeypatch)
    sending = Sending()
    url = httpx.URL("http://no-such-host.invalid/")
    with pytest.raises(Unreachable, match="cannot be looked up"):
        async with client.send("GET", url, headers={}, sending=sending):
            pass
    assert not sending.has_begun


def test_what_speaks_http_is_loaded_when_it_is_needed() -> None:
    program = (
        "import sys; import batchyard.webhooks; from batchyard.network import HttpClient;"
        "from batchyard.providers.registry import list_kinds; list_kinds();"
        "HttpClient(allow_private=True, timeout_seconds=5);"
        "print('aiohttp' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == ["False"]
