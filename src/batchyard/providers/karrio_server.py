"""The calls of a Karrio server that a provider makes, with its key and nobody else's."""

from collections.abc import AsyncIterator, Mapping

import httpx
import orjson

from batchyard import __version__
from batchyard.errors import InvalidRequest, ProviderError
from batchyard.models import JsonObject
from batchyard.network import HttpClient
from batchyard.providers.http_answers import describe
from batchyard.providers.http_exchange import Exchange, Reply
from batchyard.providers.karrio_answers import read_faults, read_object
from batchyard.providers.karrio_shapes import objects_of

BODY_BYTES = 32 * 1024**2
"""The answer to a purchase holds the labels of all its parcels."""

REQUEST_ID = "x-request-id"
TEST_MODE = "x-test-mode"

PAGE = 100
PAGES = 20


class KarrioServer:
    """One server, spoken to with one key."""

    def __init__(self, url: str, key: str, *, allow_private: bool, timeout_seconds: float) -> None:
        self._base = url.rstrip("/")
        self._key = key
        self._client = HttpClient(allow_private=allow_private, timeout_seconds=timeout_seconds)
        self._exchange = Exchange(self._client, body_bytes=BODY_BYTES)

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()

    async def post(
        self, path: str, body: JsonObject | None, *, deadline: float, request_id: str | None = None
    ) -> Reply:
        """Post once; raise `NotSent` when that is proven, `AnswerLost` for every other fault."""
        headers = {REQUEST_ID: request_id} if request_id is not None else {}
        content = b""
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = orjson.dumps(body)
        return await self._carry("POST", path, headers=headers, content=content, deadline=deadline)

    async def get(
        self,
        path: str,
        *,
        deadline: float,
        params: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> Reply:
        """Read once; raises as `post` does."""
        headers = {REQUEST_ID: request_id} if request_id is not None else {}
        return await self._carry("GET", path, headers=headers, params=params, deadline=deadline)

    async def read(
        self, path: str, *, deadline: float, params: Mapping[str, str] | None = None
    ) -> JsonObject:
        """Read an object; raise `ProviderError` when there is none, permanent for a wrong key."""
        reply = await self.get(path, params=params, deadline=deadline)
        return read_success(reply)

    async def list_connections(self, *, deadline: float) -> AsyncIterator[JsonObject]:
        """Yield the active connections that can ship. Raises `ProviderError`."""
        for page in range(PAGES):
            params = {"active": "true", "limit": str(PAGE), "offset": str(page * PAGE)}
            found = await self.read("/v1/connections", params=params, deadline=deadline)
            for connection in objects_of(found, "results"):
                abilities = connection.get("capabilities")
                if not isinstance(abilities, list) or "shipping" in abilities:
                    yield connection
            if not found.get("next"):
                return

    async def _carry(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        deadline: float,
        params: Mapping[str, str] | None = None,
        content: bytes = b"",
    ) -> Reply:
        return await self._exchange.carry(
            method,
            httpx.URL(f"{self._base}{path}", params=params),
            headers={
                "Authorization": f"Token {self._key}",
                "Accept": "application/json",
                "User-Agent": f"batchyard/{__version__}",
                **headers,
            },
            body=content,
            deadline=deadline,
        )


def read_success(reply: Reply) -> JsonObject:
    """Read an answer that must be a success; raise `ProviderError`, permanent for a wrong key."""
    if reply.is_success:
        try:
            return read_object(reply)
        except InvalidRequest as error:
            raise ProviderError(f"This does not answer as Karrio does: {error.message}") from error
    told = read_faults(reply.body)
    words = told[0].sentence if told else describe(reply)
    if reply.status == 401:
        raise ProviderError(f"Karrio refuses the API key: {words}", permanent=True)
    if reply.status == 403 and told:
        # A good key that lacks one permission: others may do what they want with it.
        raise ProviderError(f"Karrio does not allow the API key to do this: {words}")
    raise ProviderError(words)
