"""A client of the operator API: typed answers, retries, and a key for every change."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Literal, Self
from uuid import UUID, uuid4

import httpx
from pydantic import BaseModel, ConfigDict, TypeAdapter

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
RETRIES = 5
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 20.0
STREAM_SILENT_SECONDS = 45.0
"""A stream says something every 15 seconds; one silent for so long is dead."""

Verdict = Literal["done", "failed", "retry"]
Values = Mapping[str, object]


class Shown(BaseModel):
    """Something the API shows; fields that a later server adds are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Waiting(Shown):
    """Why something waits."""

    reason: str


class Batch(Shown):
    """A batch with its counts."""

    id: UUID
    kind: str
    state: str
    reference: str | None
    total: int
    counts: dict[str, int]
    created_at: datetime
    finished_at: datetime | None
    waiting: Waiting | None = None


class Item(Shown):
    """An item; the whole history only where it was read by itself."""

    id: UUID
    batch_id: UUID
    position: int
    phase: str
    status: str
    attempt: int
    number: str | None
    reference: str | None
    error_code: str | None
    error_message: str | None
    payload: dict[str, object] | None = None
    result: dict[str, object] | None = None
    attempts: list[dict[str, object]] = []
    waiting: Waiting | None = None


class Event(Shown):
    """Something that happened; `batch.counts` has counts instead of an id."""

    type: str
    id: str | None = None
    batch_id: UUID | None = None
    item_id: UUID | None = None
    data: dict[str, object] = {}
    counts: dict[str, int] | None = None
    at: datetime | None = None


class ApiError(Exception):
    """The server refused a request; `problem` says why, as in RFC 9457."""

    def __init__(self, status: int, problem: Values) -> None:
        super().__init__(f"{status}: {problem.get('detail', 'no reason given')}")
        self.status = status
        self.problem = problem


_OBJECT = TypeAdapter(dict[str, object])


class Client:
    """Speaks for the team of its token; use it as a context, from one event loop."""

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
        self._http = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout_seconds,
            transport=transport,
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
        key: str | None = None,
    ) -> dict[str, object]:
        """Send a request of any kind, again where it may not have arrived; raise `ApiError`.

        Every change carries one `Idempotency-Key` through all its tries, so it happens once; give
        your own to be safe over a crash of yours as well.
        """
        headers = {} if method == "GET" else {"Idempotency-Key": key or str(uuid4())}
        given = {name: value for name, value in (params or {}).items() if value is not None}
        for tried in range(self._retries + 1):
            is_last = tried == self._retries
            try:
                answer = await self._http.request(
                    method,
                    path,
                    params=given,  # type: ignore[arg-type]  # httpx writes each as text
                    json=body,
                    headers=headers,
                )
            except httpx.TransportError:
                if is_last:
                    raise
                await asyncio.sleep(_pause(tried, None))
                continue
            if not _is_worth_another(answer) or is_last:
                return _read(answer)
            await asyncio.sleep(_pause(tried, answer.headers.get("retry-after")))
        raise AssertionError("the last try returns or raises")

    async def batches(self, **filters: object) -> AsyncIterator[Batch]:
        """Yield batches, page by page; the filters are those of `GET /batches`."""
        async for row in self._pages("/batches", filters):
            yield Batch.model_validate(row)

    async def batch(self, batch_id: UUID) -> Batch:
        """Return a batch."""
        return Batch.model_validate(await self.request("GET", f"/batches/{batch_id}"))

    async def change_batch(self, batch_id: UUID, **changes: object) -> Batch:
        """Change what may be changed of a batch, by the fields of `PATCH /batches/{id}`."""
        shown = await self.request("PATCH", f"/batches/{batch_id}", body=changes)
        return Batch.model_validate(shown)

    async def steer(
        self,
        batch_id: UUID,
        action: Literal["dispatch", "pause", "resume", "stop", "cancel", "retry"],
        *,
        key: str | None = None,
    ) -> dict[str, object]:
        """Dispatch, pause, resume, stop, cancel a batch, or retry what failed in it."""
        body: dict[str, object] | None = {} if action == "retry" else None
        return await self.request("POST", f"/batches/{batch_id}/{action}", body=body, key=key)

    async def delete_batch(self, batch_id: UUID) -> None:
        """Delete a batch."""
        await self.request("DELETE", f"/batches/{batch_id}")

    async def items(self, **filters: object) -> AsyncIterator[Item]:
        """Yield items, page by page; the filters are those of `GET /items`."""
        async for row in self._pages("/items", filters):
            yield Item.model_validate(row)

    async def item(self, item_id: UUID) -> Item:
        """Return an item with its whole history."""
        return Item.model_validate(await self.request("GET", f"/items/{item_id}"))

    async def stop_item(self, item_id: UUID) -> None:
        """Stop an item that waits."""
        await self.request("POST", f"/items/{item_id}/stop")

    async def resolve(
        self,
        verdict: Verdict,
        *,
        batch_id: UUID | None = None,
        item_ids: Sequence[UUID] | None = None,
        everything: bool = False,
    ) -> int:
        """Decide what became of items with an unknown outcome; return how many."""
        body: dict[str, object] = {"as": verdict, "all": everything}
        if batch_id is not None:
            body["batch_id"] = str(batch_id)
        if item_ids is not None:
            body["item_ids"] = [str(item_id) for item_id in item_ids]
        return int(str((await self.request("POST", "/items/resolve", body=body))["items"]))

    async def events(
        self, *, batch_id: UUID | None = None, after: str | None = None
    ) -> AsyncIterator[Event]:
        """Follow events for ever, over lost connections and restarts of the server.

        They begin after an event's id (`0-0` is the first that is kept), else with now.
        """
        path = "/events" if batch_id is None else f"/batches/{batch_id}/events"
        tried = 0
        while True:
            headers = {"Accept": "text/event-stream"}
            if after is not None:
                headers["Last-Event-ID"] = after
            wait = None
            try:
                async with self._http.stream(
                    "GET", path, headers=headers, timeout=STREAM_SILENT_SECONDS
                ) as answer:
                    if _is_worth_another(answer):
                        wait = answer.headers.get("retry-after")
                    elif answer.status_code != 200:
                        await answer.aread()
                        _read(answer)
                    else:
                        async for name, text in _fields(answer):
                            tried = 0
                            if name == "id":
                                after = text
                            else:
                                yield _event(name, text)
            except httpx.TransportError:
                pass
            await asyncio.sleep(_pause(tried, wait))
            tried += 1

    async def _pages(self, path: str, filters: Values) -> AsyncIterator[object]:
        cursor: object = None
        while True:
            page = await self.request("GET", path, params={**filters, "cursor": cursor})
            rows = page["data"]
            for row in rows if isinstance(rows, list) else ():
                yield row
            cursor = page.get("next_cursor")
            if cursor is None:
                return


def _is_worth_another(answer: httpx.Response) -> bool:
    # 409 with Retry-After: the first try with this key is still being answered.
    return answer.status_code in RETRIED or (
        answer.status_code == 409 and "retry-after" in answer.headers
    )


def _pause(tried: int, asked: str | None) -> float:
    """Return how long to wait: what the server asks for, else longer each time, never alike."""
    if asked is not None and asked.isdecimal():
        return min(float(asked), LONGEST_PAUSE_SECONDS)
    longest = min(FIRST_PAUSE_SECONDS * 2.0**tried, LONGEST_PAUSE_SECONDS)
    return longest * random.uniform(0.5, 1)  # noqa: S311  # spreads clients, keeps no secret


def _read(answer: httpx.Response) -> dict[str, object]:
    try:
        body = _OBJECT.validate_json(answer.content or b"{}")
    except ValueError:
        body = {"detail": answer.text[:500]}
    if answer.is_error:
        raise ApiError(answer.status_code, body)
    return body


async def _fields(answer: httpx.Response) -> AsyncIterator[tuple[str, str]]:
    """Yield each id as ("id", text), once its event is taken, and each event as (type, data)."""
    name, data, last_id = "message", "", None
    async for line in answer.aiter_lines():
        field, _, text = line.partition(":")
        text = text.removeprefix(" ")
        if field == "event":
            name = text
        elif field == "data":
            data = text
        elif field == "id":
            last_id = text
        elif not line:
            if data:
                yield name, data
            if last_id is not None:
                yield "id", last_id
            name, data, last_id = "message", "", None


def _event(name: str, text: str) -> Event:
    return Event.model_validate({"type": name, **_OBJECT.validate_json(text)})
