"""One request and its answer: knows whether a byte left, and reads no more than it should."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from batchyard import tracing
from batchyard.errors import ProviderError
from batchyard.network import AddressNotAllowed

BODY_BYTES = 5 * 1024**2
"""An answer or a document larger than this is not read to its end, unless said otherwise."""

FAULT_BODY_BYTES = 64 * 1024
FAULT_BODY_SECONDS = 2.0
"""So much of a refusal's body is read, and so long, for its message."""


class NotSent(ProviderError):
    """No byte of the request left this machine."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AnswerLost(ProviderError):
    """The request may have arrived; its answer did not."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """An answer as it came. A success has its whole body, anything else may lack some of it."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is a 2xx."""
        return 200 <= self.status <= 299


class Exchange:
    """Exchanges with one provider over its client."""

    def __init__(self, client: httpx.AsyncClient, *, body_bytes: int = BODY_BYTES) -> None:
        self._client = client
        self._body_bytes = body_bytes

    async def carry(
        self,
        method: str,
        url: httpx.URL,
        *,
        headers: Mapping[str, str],
        deadline: float,
        body: bytes = b"",
    ) -> Reply:
        """Send once and read the answer until `deadline`, a time of the event loop.

        Raise `NotSent` when that is proven, `AnswerLost` for every other fault.
        """
        trace = _Trace()
        request = self._client.build_request(
            method,
            url,
            content=body or None,
            headers={**headers, **tracing.headers(), "Accept-Encoding": "identity"},
            extensions={"trace": trace.note},
        )
        try:
            async with asyncio.timeout_at(deadline):
                return await self._exchange(request)
        except (TimeoutError, httpx.TimeoutException) as error:
            if not trace.has_begun:
                raise NotSent("connect_timeout", "No connection within the timeout.") from error
            raise AnswerLost("timeout", "The provider did not answer in time.") from error
        except httpx.HTTPError as error:
            if trace.has_begun or not isinstance(error, httpx.ConnectError):
                raise AnswerLost("connection_lost", _reason(error)) from error
            if isinstance(error.__cause__, AddressNotAllowed):
                raise NotSent("address_not_allowed", _reason(error)) from error
            raise NotSent("connect_failed", _reason(error)) from error

    async def _exchange(self, request: httpx.Request) -> Reply:
        response = await self._client.send(request, stream=True)
        try:
            return Reply(
                status=response.status_code,
                headers={name.lower(): value for name, value in response.headers.items()},
                body=await _read(response, at_most=self._body_bytes),
            )
        finally:
            await response.aclose()


class _Trace:
    """Told by the connection what it is doing."""

    def __init__(self) -> None:
        self.has_begun = False

    async def note(self, event: str, _info: Mapping[str, object]) -> None:
        """Remember that writing began: from here on, the request may have arrived."""
        if not event.startswith("connection."):
            self.has_begun = True


async def _read(response: httpx.Response, *, at_most: int) -> bytes:
    if not response.is_success:
        return await _read_fault(response)
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise AnswerLost("answer_encoded", "The answer is compressed, which was not asked for.")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > at_most:
            raise AnswerLost("answer_too_large", f"The answer has more than {at_most} bytes.")
    return bytes(body)


async def _read_fault(response: httpx.Response) -> bytes:
    """Read some of a body that only serves as a message; its status says all that matters."""
    body = bytearray()
    try:
        async with asyncio.timeout(FAULT_BODY_SECONDS):
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > FAULT_BODY_BYTES:
                    break
    except (TimeoutError, httpx.HTTPError):
        return b""
    return bytes(body)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
