"""A vendor's API over HTTP: one base address, one credential, no retries, paths that stay on it."""

from collections.abc import Sequence
from urllib.parse import urlencode

import httpx

from batchyard import __version__
from batchyard.network import HttpClient
from batchyard.providers.http_exchange import AnswerLost, Exchange, Reply
from batchyard.providers.in_flight import InFlight

Pairs = Sequence[tuple[str, str]]


class ApiClient:
    """Speaks for one account; each exchange takes at most `timeout_seconds`."""

    def __init__(
        self,
        base_url: str,
        *,
        authorization: str,
        timeout_seconds: float,
        allow_private: bool,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._headers = {
            "Authorization": authorization,
            "User-Agent": f"batchyard/{__version__}",
            "Accept": "application/json",
        }
        self._seconds = timeout_seconds
        self._client = HttpClient(allow_private=allow_private, timeout_seconds=timeout_seconds)
        self._exchange = Exchange(self._client)
        self._in_flight = InFlight()

    @property
    def is_closing(self) -> bool:
        """Whether nothing new may be sent."""
        return self._in_flight.is_closing

    async def post(self, path: str, body: bytes, *, content_type: str) -> Reply:
        """Post once; raise `NotSent` or `AnswerLost`."""
        async with self._in_flight.within(seconds=self._seconds) as deadline:
            return await self._exchange.carry(
                "POST",
                self._url(path),
                headers={**self._headers, "Content-Type": content_type},
                body=body,
                deadline=deadline,
            )

    async def get(self, path: str, query: Pairs = (), *, authorization: str | None = None) -> Reply:
        """Fetch, with another credential where one is given; raise `NotSent` or `AnswerLost`."""
        headers = self._headers
        if authorization is not None:
            headers = {**headers, "Authorization": authorization}
        async with self._in_flight.within(seconds=self._seconds) as deadline:
            return await self._exchange.carry(
                "GET",
                self._url(f"{path}?{urlencode(query)}" if query else path),
                headers=headers,
                deadline=deadline,
            )

    async def close(self) -> None:
        """Let what is out come in, then hang up."""
        await self._in_flight.come_in()
        await self._client.aclose()

    def _url(self, path: str) -> httpx.URL:
        """Return an address below the base: an answer may name a path, but no other server."""
        if not path.startswith("/"):
            raise AnswerLost("answer_unreadable", "The next page is on another server.")
        try:
            return httpx.URL(f"{self._base}{path}")
        except httpx.InvalidURL as error:
            raise AnswerLost("answer_unreadable", "The next page has no address.") from error
