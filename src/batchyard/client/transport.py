"""Requests that are safe to send again, pages, and files that come in as a stream."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

import httpx
from pydantic import TypeAdapter

from batchyard.client.lists import ListFile, write_field

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
RETRIES = 5
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 20.0
LIST_SECONDS = 900.0
"""How long the answer to a list may take, once all of it was sent; or the next part of a file."""

Values = Mapping[str, object]

OBJECT = TypeAdapter(dict[str, object])


class ApiError(Exception):
    """The server refused a request; `problem` says why, as in RFC 9457."""

    def __init__(self, status: int, problem: Values) -> None:
        super().__init__(f"{status}: {problem.get('detail', 'no reason given')}")
        self.status = status
        self.problem = problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """A file that comes in; one that is cut off raises `httpx.TransportError` in the middle."""

    name: str | None
    """What the server calls it."""
    parts: AsyncIterator[bytes]


class Transport:
    """What every call goes through."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        retries: int = RETRIES,
        timeout_seconds: float = 30,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._retries = retries
        self._timeout_seconds = timeout_seconds
        is_here = _is_here(url)
        self._http = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout_seconds,
            transport=transport,
            # Within this machine no certificate is shown, and to read all authorities takes longer
            # than most requests; nor has a proxy any business there.
            verify=not is_here,
            trust_env=not is_here,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Values | None = None,
        body: object = None,
        file: ListFile | None = None,
        key: str | None = None,
        work_seconds: float | None = None,
    ) -> dict[str, object]:
        """Send a request of any kind, again where it may not have arrived; raise `ApiError`.

        With a file, `body` is the fields of the form before it. Every change carries one
        `Idempotency-Key` through all its tries, so it happens once; give your own to be safe over a
        crash of yours as well. What is long work for the server is given `work_seconds`; it is not
        begun again when they are over: that raises `httpx.ReadTimeout`.
        """
        headers = {} if method == "GET" else {"Idempotency-Key": key or str(uuid4())}
        for tried in range(self._retries + 1):
            is_last = tried == self._retries
            try:
                with ExitStack() as opened:
                    answer = await self._http.request(
                        method,
                        path,
                        params=_given(params),
                        headers=headers,
                        timeout=self._timeout(file, work_seconds),
                        **_content(body, file, opened),
                    )
            except httpx.TransportError as error:
                is_at_work = work_seconds is not None and isinstance(error, httpx.ReadTimeout)
                if is_last or is_at_work:
                    raise
                await asyncio.sleep(pause_seconds(tried, None))
                continue
            if method == "DELETE" and tried and answer.status_code == 404:
                # The try before did it, and its answer was lost.
                return {}
            if not is_worth_another(answer) or is_last:
                return read_answer(answer)
            await asyncio.sleep(pause_seconds(tried, answer.headers.get("retry-after")))
        raise AssertionError("the last try returns or raises")

    async def request_once(self, method: str, path: str, *, body: object) -> dict[str, object]:
        """Send a change that knows no key, and never again; raise `ApiError`.

        Raises `httpx.TransportError` where nobody knows whether it was made.
        """
        return read_answer(await self._http.request(method, path, json=body))

    @asynccontextmanager
    async def download(self, path: str, *, params: Values | None = None) -> AsyncIterator[Download]:
        """Lend a file as it comes in; asked for again until it begins. Raises `ApiError`."""
        timeout = httpx.Timeout(self._timeout_seconds, read=LIST_SECONDS)
        for tried in range(self._retries + 1):
            asked = self._http.build_request("GET", path, params=_given(params), timeout=timeout)
            wait = None
            try:
                answer = await self._http.send(asked, stream=True)
            except httpx.TransportError:
                if tried == self._retries:
                    raise
            else:
                try:
                    if not answer.is_error:
                        name = _name_of(answer)
                        yield Download(name=name, parts=answer.aiter_bytes())
                        return
                    await answer.aread()
                    if not is_worth_another(answer) or tried == self._retries:
                        read_answer(answer)
                    wait = answer.headers.get("retry-after")
                finally:
                    await answer.aclose()
            await asyncio.sleep(pause_seconds(tried, wait))

    async def pages(self, path: str, filters: Values) -> AsyncIterator[object]:
        """Yield what a list has, page by page."""
        cursor: object = None
        while True:
            page = await self.request("GET", path, params={**filters, "cursor": cursor})
            for row in rows_of(page):
                yield row
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def _timeout(self, file: ListFile | None, work_seconds: float | None) -> httpx.Timeout:
        read = self._timeout_seconds if file is None else LIST_SECONDS
        return httpx.Timeout(self._timeout_seconds, read=work_seconds or read)


def _content(body: object, file: ListFile | None, opened: ExitStack) -> dict[str, Any]:
    if file is None:
        return {"json": body}
    fields = body if isinstance(body, Mapping) else {}
    return {
        "data": {n: write_field(value) for n, value in fields.items() if value is not None},
        "files": {"file": (file.name, opened.enter_context(file.open()))},
    }


def _is_here(url: str) -> bool:
    """Tell whether an address is one of this machine, and no TLS is spoken."""
    parts = httpx.URL(url)
    return parts.scheme == "http" and parts.host in {"127.0.0.1", "::1", "localhost"}


def segment(name: str) -> str:
    """Return a name as one part of a path, whatever is in it.

    Dots alone are a step to another path unless they are escaped.
    """
    return quote(name, safe="") if name.strip(".") else "%2E" * len(name)


def rows_of(page: Values) -> list[object]:
    """Return the rows of a page."""
    rows = page["data"]
    return rows if isinstance(rows, list) else []


def is_worth_another(answer: httpx.Response) -> bool:
    """Tell whether the same request may be answered otherwise soon."""
    # 409 with Retry-After: the first try with this key is still being answered.
    return answer.status_code in RETRIED or (
        answer.status_code == 409 and "retry-after" in answer.headers
    )


def pause_seconds(tried: int, asked: str | None) -> float:
    """Return how long to wait: what the server asks for, else longer each time, never alike."""
    if asked is not None and asked.isdecimal():
        return min(float(asked), LONGEST_PAUSE_SECONDS)
    longest = min(FIRST_PAUSE_SECONDS * 2.0**tried, LONGEST_PAUSE_SECONDS)
    return longest * random.uniform(0.5, 1)  # noqa: S311  # spreads clients, keeps no secret


def read_answer(answer: httpx.Response) -> dict[str, object]:
    """Return the body of an answer; raise `ApiError` for a refusal."""
    try:
        body = OBJECT.validate_json(answer.content or b"{}")
    except ValueError:
        body = {"detail": answer.text[:500]}
    if answer.is_error:
        raise ApiError(answer.status_code, body)
    return body


def _given(params: Values | None) -> Any:  # noqa: ANN401  # httpx writes each as text
    return {name: value for name, value in (params or {}).items() if value is not None}


def _name_of(answer: httpx.Response) -> str | None:
    head = Message()
    head["Content-Disposition"] = answer.headers.get("content-disposition", "")
    return head.get_filename()
