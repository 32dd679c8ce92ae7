"""HTTP by aiohttp, as carefully as `HttpClient` promises it; loaded when the first one opens."""

import asyncio
import base64
import io
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial

import aiohttp
import httpx
import yarl
from aiohttp.http import HttpProcessingError

from batchyard import __version__
from batchyard.network.addresses import AddressNotAllowed, Unreachable
from batchyard.network.connections import SENDING, Connector
from batchyard.network.sending import ConnectionLost, Response, Sending

CONNECT_SECONDS = 10.0

HEAD_BYTES = 64 * 1024
"""The longest line of an answer's head that is read."""

LARGE_BODY_BYTES = 1024**2
"""From here on, aiohttp wants a body as a file, which it writes piece by piece."""

HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "keep-alive",
    "User-Agent": f"batchyard/{__version__}",
}
"""Sent unless a request has its own."""

AUTOMATIC_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Those that aiohttp would add."""

FAULTS = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError)
"""What aiohttp raises when a request fails; a `ValueError` for a header that cannot be sent."""


class Session:
    """What an open client holds: a session of aiohttp, of the event loop that runs."""

    def __init__(self, *, allow_private: bool, timeout_seconds: float) -> None:
        self._session = aiohttp.ClientSession(
            connector=Connector(allow_private=allow_private),
            timeout=_timeout(timeout_seconds),
            headers=HEADERS,
            skip_auto_headers=AUTOMATIC_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            max_line_size=HEAD_BYTES,
            max_field_size=HEAD_BYTES,
        )

    @asynccontextmanager
    async def send(
        self,
        method: str,
        url: httpx.URL,
        *,
        headers: Mapping[str, str],
        body: bytes,
        sending: Sending,
    ) -> AsyncIterator[Response]:
        """Send once, as `HttpClient.send` says."""
        try:
            response = await self._start(method, url, headers=headers, body=body, sending=sending)
        except BaseException:
            sending.break_off()
            raise
        try:
            with _ending(response):
                yield Response(
                    status=response.status,
                    headers=_read_headers(response),
                    next_piece=partial(_next_piece, response, sending),
                )
        finally:
            # Once the body has come to its end, the connection is no longer the answer's.
            if response.connection is not None:
                response.close()
                sending.break_off()

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def _start(
        self,
        method: str,
        url: httpx.URL,
        *,
        headers: Mapping[str, str],
        body: bytes,
        sending: Sending,
    ) -> aiohttp.ClientResponse:
        token = SENDING.set(sending)
        try:
            return await self._session.request(
                method,
                _target(url),
                headers={"Host": url.netloc.decode("ascii"), **headers, **_credentials(url)},
                data=io.BytesIO(body) if len(body) > LARGE_BODY_BYTES else body or None,
                allow_redirects=False,
            )
        except FAULTS as error:
            raise _tell(error, host=url.host, sending=sending) from error
        finally:
            SENDING.reset(token)


async def connect(url: httpx.URL, *, allow_private: bool, timeout_seconds: float) -> None:
    """Connect as a request would, and hang up; raise `AddressNotAllowed`, `OSError`."""
    request = aiohttp.ClientRequest("GET", _target(url), loop=asyncio.get_running_loop())
    sending = Sending()
    token = SENDING.set(sending)
    try:
        async with Connector(allow_private=allow_private) as connector:
            connection = await connector.connect(request, [], _timeout(timeout_seconds))
            # Only closing the connector waits for the end of a connection.
            await connector.close()
            connection.close()
    except AddressNotAllowed:
        raise
    except Unreachable as error:
        raise OSError(error.message) from error
    except FAULTS as error:
        raise OSError(str(_tell(error, host=url.host, sending=sending))) from error
    finally:
        SENDING.reset(token)


def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=None,
        connect=min(CONNECT_SECONDS, seconds),
        sock_read=seconds,
        # Longer ones than this are rounded up to a full second.
        ceil_threshold=CONNECT_SECONDS,
    )


def _target(url: httpx.URL) -> yarl.URL:
    """Return a URL that goes out exactly as it was read: what aiohttp quotes, it quotes anew."""
    authority = url.netloc.decode("ascii")
    host = url.raw_host.decode("ascii")
    if host.replace(".", "").isdigit():
        # 127.1 or 2130706433: aiohttp refuses them, the system takes them for addresses.
        with suppress(OSError):
            authority = authority.replace(host, socket.inet_ntoa(socket.inet_aton(host)), 1)
    return yarl.URL.build(
        scheme=url.scheme,
        authority=authority,
        path=url.raw_path.decode("ascii"),
        encoded=True,
    )


def _credentials(url: httpx.URL) -> dict[str, str]:
    """Return the header of a user name and a password in a URL."""
    if not url.userinfo:
        return {}
    pair = f"{url.username}:{url.password}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _read_headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.raw_headers:
        name = raw_name.decode("latin-1").lower()
        try:
            value = raw_value.decode()
        except UnicodeDecodeError:
            value = raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def _next_piece(response: aiohttp.ClientResponse, sending: Sending) -> bytes:
    try:
        return await response.content.readany()
    except FAULTS as error:
        raise _tell(error, host=response.url.raw_host or "", sending=sending) from error


@contextmanager
def _ending(response: aiohttp.ClientResponse) -> Iterator[None]:
    """Let a body end with its connection; after a fault in its chunks, aiohttp lets one wait on."""
    body = response.content
    connection = response.connection
    if body.is_eof() or connection is None or connection.protocol is None:
        yield
        return

    def end(_: object = None) -> None:
        if not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError("The answer broke off."))

    closed = connection.protocol.closed
    if closed is None:
        end()
        yield
        return
    closed.remove_done_callback(_ask)
    closed.add_done_callback(_ask)
    closed.add_done_callback(end)
    try:
        yield
    finally:
        closed.remove_done_callback(end)


def _ask(closed: asyncio.Future[None]) -> None:
    """Ask how a connection ended: of a reset that nobody asks about, the event loop complains."""
    if not closed.cancelled():
        closed.exception()


def _tell(error: Exception, *, host: str, sending: Sending) -> Exception:
    """Return what we call a fault, which depends on whether anything may have been sent."""
    if isinstance(error, TimeoutError):
        return TimeoutError(f"{host} did not answer in time.")
    return ConnectionLost(_reason(error)) if sending.has_begun else Unreachable(_reason(error))


def _reason(error: Exception) -> str:
    """Say what happened in the words of the system, without the URL: it may hold secrets."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return str(error.certificate_error)
        case aiohttp.ClientConnectorSSLError():
            return str(error.os_error)
        case aiohttp.ClientConnectorError():
            return "All connection attempts failed"
        case aiohttp.ServerDisconnectedError():
            return "Server disconnected without sending a response."
    cause = error.__cause__ or error
    text = cause.message if isinstance(cause, HttpProcessingError) else str(cause)
    return " ".join(text.split()) or type(error).__name__
