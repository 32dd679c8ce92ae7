"""An HTTP client that reaches only allowed addresses; what it needs is loaded when it opens."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Self

import httpx

from batchyard.network.sending import Response, Sending

if TYPE_CHECKING:
    from batchyard.network.session import Session


class HttpClient:
    """Sends each request once: no redirects, no cookies, no proxies, nothing a second time.

    It opens with its first request or as a context, so it may be made where no event loop runs.
    Whoever sends limits how many connections there are.
    """

    def __init__(self, *, allow_private: bool, timeout_seconds: float) -> None:
        self._allow_private = allow_private
        self._timeout_seconds = timeout_seconds
        self._session: Session | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        """Open it."""
        self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.aclose()

    def send(
        self,
        method: str,
        url: httpx.URL,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        sending: Sending | None = None,
    ) -> AbstractAsyncContextManager[Response]:
        """Send a request; the end of its context ends its connection, unless the body was read.

        Entering it raises `Unreachable` where nothing was sent, else `ConnectionLost`; a
        `TimeoutError` may be either, which `sending` tells.
        """
        return self._open().send(
            method, url, headers=headers, body=body, sending=sending or Sending()
        )

    async def aclose(self) -> None:
        """Close every connection."""
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> "Session":
        if self._is_closed:
            raise RuntimeError("The client is closed.")
        if self._session is None:
            from batchyard.network.session import Session

            self._session = Session(
                allow_private=self._allow_private, timeout_seconds=self._timeout_seconds
            )
        return self._session


async def probe(url: str, *, allow_private: bool, timeout_seconds: float) -> None:
    """Connect as a request would, TLS too, and hang up; raise `AddressNotAllowed`, `OSError`."""
    from batchyard.network.session import connect

    await connect(httpx.URL(url), allow_private=allow_private, timeout_seconds=timeout_seconds)
