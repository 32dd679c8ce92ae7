"""One request and its answer: knows whether a byte left, and reads no more than it should."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from batchyard import tracing
from batchyard.errors import ProviderError
from batchyard.network import (
    AddressNotAllowed,
    ConnectionLost,
    HttpClient,
    Response,
    Sending,
    Unreachable,
)

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


class AccessRefused(AnswerLost):
    """A question was not answered, for our credentials are not taken."""


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

    def __init__(self, client: HttpClient, *, body_bytes: int = BODY_BYTES) -> None:
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
        sending = Sending()
        request = self._client.send(
            method,
            url,
            headers={**headers, **tracing.headers(), "Accept-Encoding": "identity"},
            body=body,
            sending=sending,
        )
        try:
            async with asyncio.timeout_at(deadline), request as response:
                return Reply(
                    status=response.status,
                    headers=response.headers,
                    body=await _read(response, at_most=self._body_bytes),
                )
        except TimeoutError as error:
            if not sending.has_begun:
                raise NotSent("connect_timeout", "No connection within the timeout.") from error
            raise AnswerLost("timeout", "The provider did not answer in time.") from error
        except AddressNotAllowed as error:
            raise NotSent("address_not_allowed", error.message) from error
        except Unreachable as error:
            raise NotSent("connect_failed", error.message) from error
        except ConnectionLost as error:
            raise AnswerLost("connection_lost", error.message) from error


async def _read(response: Response, *, at_most: int) -> bytes:
    if not response.is_success:
        return await _read_fault(response)
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise AnswerLost("answer_encoded", "The answer is compressed, which was not asked for.")
    body = await response.read(at_most=at_most)
    if len(body) > at_most:
        raise AnswerLost("answer_too_large", f"The answer has more than {at_most} bytes.")
    return body


async def _read_fault(response: Response) -> bytes:
    """Read some of a body that only serves as a message; its status says all that matters."""
    try:
        async with asyncio.timeout(FAULT_BODY_SECONDS):
            return await response.read(at_most=FAULT_BODY_BYTES)
    except (TimeoutError, ConnectionLost):
        return b""
