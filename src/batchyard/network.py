"""Which addresses may be reached, and an HTTP client that reaches no others."""

import asyncio
import socket
import ssl
from collections.abc import Iterable
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import certifi
import httpcore
import httpx

from batchyard.errors import BatchyardError

Address = IPv4Address | IPv6Address
SocketOption = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)

KEEP_ALIVE_SECONDS = 1.5
"""Shorter than servers keep idle connections: a request must not meet one that is being closed."""

CONNECT_SECONDS = 10.0

NEVER: tuple[IPv4Network | IPv6Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # "this host"
        "169.254.0.0/16",  # link-local; cloud metadata
        "100.100.100.200/32",  # metadata, Alibaba
        "168.63.129.16/32",  # metadata, Azure
        "192.0.0.192/32",  # metadata, Oracle
        "224.0.0.0/4",  # multicast
        "255.255.255.255/32",
        "fe80::/10",  # link-local
        "fd00:ec2::/32",  # metadata, Amazon
        "ff00::/8",  # multicast
    )
)
"""Refused even where private addresses are allowed: nothing anybody books with lives there."""

GLOBAL_IPV6 = IPv6Network("2000::/3")
"""All public IPv6 addresses there are so far."""

DISGUISES: tuple[tuple[IPv6Network, int], ...] = (
    (IPv6Network("::/96"), 0),
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)
"""IPv4 addresses written as IPv6: compatible, mapped, NAT64, 6to4; and the bits after them."""


class AddressNotAllowed(BatchyardError, httpcore.ConnectError):
    """The address may not be reached from here."""


def is_allowed(address: Address, *, allow_private: bool) -> bool:
    """Tell whether an address may be reached; without `allow_private` it must be a public one."""
    if isinstance(address, IPv6Address) and (inner := _disguised(address)) is not None:
        return allow_private and is_allowed(inner, allow_private=True)
    if any(address in network for network in NEVER if network.version == address.version):
        return False
    return allow_private or _is_public(address)


async def resolve(host: str, port: int, *, allow_private: bool) -> tuple[str, ...]:
    """Look a host up; raise `AddressNotAllowed` unless every address it has may be reached."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} cannot be looked up: {error}") from error
    addresses = tuple(dict.fromkeys(str(info[4][0]) for info in found))
    for text in addresses:
        if not is_allowed(ip_address(text), allow_private=allow_private):
            raise AddressNotAllowed(
                f"{host} has the address {text}, which may not be reached from here."
            )
    return addresses


def fault_of_url(url: str) -> str | None:
    """Say what is wrong with a URL that somebody gave us, or None when it can be used."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as error:
        return f"is not a URL: {error}"
    if parsed.scheme not in {"http", "https"}:
        return "must begin with http:// or https://"
    if not parsed.host:
        return "names no host"
    if parsed.userinfo:
        return "must not carry a user name or password"
    return None


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


class GuardedTransport(httpx.AsyncHTTPTransport):
    """HTTP over `GuardedBackend`: no proxies, no retries."""

    def __init__(self, *, allow_private: bool) -> None:
        # Not calling the parent's: it would build a pool that looks hosts up by itself.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_trust(),
            max_connections=None,
            max_keepalive_connections=None,
            keepalive_expiry=KEEP_ALIVE_SECONDS,
            network_backend=GuardedBackend(allow_private=allow_private),
        )


def open_client(*, allow_private: bool, timeout_seconds: float) -> httpx.AsyncClient:
    """Open a client that follows no redirects, keeps no cookies and asks no environment."""
    return httpx.AsyncClient(
        transport=GuardedTransport(allow_private=allow_private),
        timeout=httpx.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds)),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
    )


def _disguised(address: IPv6Address) -> IPv4Address | None:
    if address == IPv6Address("::1"):
        return None
    for network, bits_after in DISGUISES:
        if address in network:
            return IPv4Address(int(address) >> bits_after & 0xFFFFFFFF)
    return None


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in GLOBAL_IPV6:
        return False
    return address.is_global


@cache
def _trust() -> ssl.SSLContext:
    """Trust what browsers trust, and what the machine's owner added to the system."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    return context
