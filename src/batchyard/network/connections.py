"""Connections that go to checked addresses only, each given to one request at a time."""

import select
import socket
import ssl
from contextvars import ContextVar
from functools import cache, partial
from weakref import WeakSet

import aiohttp
import certifi
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from batchyard.network.addresses import check, resolve
from batchyard.network.sending import Sending

KEEP_ALIVE_SECONDS = 1.5
"""Shorter than servers keep idle connections: a request must not meet one that is being closed."""

SENDING: ContextVar[Sending] = ContextVar("sending")
"""The request that wants a connection; aiohttp tells its connector nothing of ours."""


class Connector(aiohttp.TCPConnector):
    """Makes connections and keeps them a while; no limit, whoever sends limits how many."""

    def __init__(self, *, allow_private: bool) -> None:
        super().__init__(
            resolver=Resolver(allow_private=allow_private),
            use_dns_cache=False,
            socket_factory=partial(_open_socket, allow_private=allow_private),
            ssl=_trust(),
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            limit=0,
        )
        self._used: WeakSet[ResponseHandler] = WeakSet()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's signature
    ) -> Connection:
        """Give a request its connection, and never a second one."""
        sending = SENDING.get()
        if sending.has_begun:
            # aiohttp sends what is idempotent again when a kept connection breaks. The first may
            # have arrived all the same, so nothing is sent again.
            raise aiohttp.ServerDisconnectedError
        connection = await super().connect(req, traces, timeout)
        while connection.protocol in self._used and _has_spoken(connection.protocol):
            connection.close()
            connection = await super().connect(req, traces, timeout)
        if connection.protocol is not None:
            self._used.add(connection.protocol)
        sending.begin(connection.transport)
        return connection


class Resolver(AbstractResolver):
    """Looks hosts up and checks their addresses, so that a second look-up cannot differ."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses, all of them allowed."""
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in await resolve(host, port, allow_private=self._allow_private)
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _open_socket(address_info: aiohttp.AddrInfoType, *, allow_private: bool) -> socket.socket:
    """Open a socket to an address, checked once more: one that is in the URL is not looked up."""
    family, kind, protocol, _, (address, *_) = address_info
    check(str(address), host=str(address), allow_private=allow_private)
    return socket.socket(family, kind, protocol)


def _has_spoken(protocol: ResponseHandler | None) -> bool:
    """Tell whether the server hung up or sent something while nothing was asked."""
    if protocol is None or protocol.transport is None or protocol.should_close:
        return True
    # Asked of the system: what came just now may not have been told to the event loop yet.
    poll = select.poll()
    poll.register(protocol.transport.get_extra_info("socket"), select.POLLIN)
    return bool(poll.poll(0))


@cache
def _trust() -> ssl.SSLContext:
    """Trust what browsers trust, and what the machine's owner added to the system."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context
