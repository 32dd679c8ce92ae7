"""An HTTP client that reaches only allowed addresses, and only the ones that were checked."""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Self

import certifi
import httpcore
import httpx

from batchyard.network.addresses import AddressNotAllowed, resolve

SocketOption = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)

KEEP_ALIVE_SECONDS = 1.5
"""Shorter than servers keep idle connections: a request must not meet one that is being closed."""

CONNECT_SECONDS = 10.0


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects to exactly the addresses that were checked, so a second look-up cannot differ."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._tcp = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Look up, check, connect to the first address that answers."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await resolve(host, port, allow_private=self._allow_private)
                return _Stream(
                    await self._connect_to_any(addresses, port, local_address, socket_options)
                )
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"{host} did not answer in time.") from error

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    async def _connect_to_any(
        self,
        addresses: tuple[str, ...],
        port: int,
        local_address: str | None,
        socket_options: Iterable[SocketOption] | None,
    ) -> httpcore.AsyncNetworkStream:
        patience = CONNECT_SECONDS / len(addresses)
        for address in addresses[:-1]:
            try:
                return await self._tcp.connect_tcp(
                    address, port, patience, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._tcp.connect_tcp(
            addresses[-1], port, patience, local_address, socket_options
        )


class _Stream(httpcore.AsyncNetworkStream):
    """A connection that is closed when its TLS handshake is broken off; httpcore leaves it open."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self.read = stream.read  # type: ignore[method-assign]
        self.write = stream.write  # type: ignore[method-assign]
        self.aclose = stream.aclose  # type: ignore[method-assign]
        self.get_extra_info = stream.get_extra_info  # type: ignore[method-assign]

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        """Shake hands."""
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except asyncio.CancelledError:
            await self._stream.aclose()
            raise


async def probe(url: str, *, allow_private: bool, timeout_seconds: float) -> None:
    """Connect as a request would, TLS too, and hang up; raise `AddressNotAllowed`, `OSError`."""
    target = httpx.URL(url)
    is_tls = target.scheme == "https"
    backend = GuardedBackend(allow_private=allow_private)
    try:
        stream = await backend.connect_tcp(
            target.raw_host.decode(), target.port or (443 if is_tls else 80), timeout_seconds
        )
        try:
            if is_tls:
                stream = await stream.start_tls(_trust(), target.host, timeout_seconds)
        finally:
            await stream.aclose()
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
        if isinstance(error, AddressNotAllowed):
            raise
        raise OSError(str(error) or "no answer") from error


class _Pool:
    """Idle connections by origin, the freshest taken first.

    In the place of httpcore's own pool, which looks at every connection for every request: with
    500 of them it spends more time on that than on the requests. Whoever sends limits how many.
    """

    def __init__(self, backend: GuardedBackend) -> None:
        self._backend = backend
        self._idle: dict[tuple[bytes, bytes, int], deque[httpcore.AsyncHTTPConnection]] = {}
        self._is_closed = False

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send over an idle connection, else over a new one; never a second time."""
        origin = request.url.origin
        idle = self._idle.setdefault((origin.scheme, origin.host, origin.port), deque())
        connection = await self._take(idle) or httpcore.AsyncHTTPConnection(
            origin,
            ssl_context=_trust(),
            keepalive_expiry=KEEP_ALIVE_SECONDS,
            network_backend=self._backend,
        )
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await connection.aclose()
            raise

        async def give_back() -> None:
            if self._is_closed or not connection.is_idle():
                await connection.aclose()
                return
            idle.append(connection)
            if idle[0].has_expired():
                await idle.popleft().aclose()

        return httpcore.Response(
            response.status,
            headers=response.headers,
            content=_Body(response, give_back),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close what is idle; what is out is closed when it comes back."""
        self._is_closed = True
        for idle in self._idle.values():
            while idle:
                await idle.pop().aclose()

    async def _take(
        self, idle: deque[httpcore.AsyncHTTPConnection]
    ) -> httpcore.AsyncHTTPConnection | None:
        while idle:
            connection = idle.pop()
            if connection.is_available() and not connection.has_expired():
                return connection
            await connection.aclose()
        return None


class _Body:
    """The body of an answer; closing it gives the connection back."""

    def __init__(
        self, response: httpcore.Response, give_back: Callable[[], Awaitable[None]]
    ) -> None:
        self._response = response
        self._give_back = give_back
        self._is_open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._response.aiter_stream():
            yield chunk

    async def aclose(self) -> None:
        if self._is_open:
            self._is_open = False
            await self._response.aclose()
            await self._give_back()


class GuardedTransport(httpx.AsyncHTTPTransport):
    """HTTP over `GuardedBackend`: no proxies, no retries."""

    def __init__(self, *, allow_private: bool) -> None:
        # Not calling the parent's: it would build a pool that looks hosts up by itself.
        self._pool = _Pool(GuardedBackend(allow_private=allow_private))  # type: ignore[assignment]

    async def __aenter__(self) -> Self:
        """Nothing is opened ahead."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close what is idle."""
        await self.aclose()


def open_client(*, allow_private: bool, timeout_seconds: float) -> httpx.AsyncClient:
    """Open a client that follows no redirects, keeps no cookies and asks no environment."""
    return httpx.AsyncClient(
        transport=GuardedTransport(allow_private=allow_private),
        timeout=httpx.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds)),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
    )


@cache
def _trust() -> ssl.SSLContext:
    """Trust what browsers trust, and what the machine's owner added to the system."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    return context
