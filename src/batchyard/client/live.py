"""Events as they happen, over lost connections and restarts of the server."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import httpx

from batchyard.client.shapes import Event
from batchyard.client.transport import (
    OBJECT,
    Transport,
    is_worth_another,
    pause_seconds,
    read_answer,
)

STREAM_SILENT_SECONDS = 45.0
"""A stream says something every 15 seconds; one silent for so long is dead."""


class LiveCalls(Transport):
    """Server-sent events."""

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
                    if is_worth_another(answer):
                        wait = answer.headers.get("retry-after")
                    elif answer.status_code != 200:
                        await answer.aread()
                        read_answer(answer)
                    else:
                        async for name, text in _fields(answer):
                            tried = 0
                            if name == "id":
                                after = text
                            else:
                                yield _event(name, text)
            except httpx.TransportError:
                pass
            await asyncio.sleep(pause_seconds(tried, wait))
            tried += 1


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
    return Event.model_validate({"type": name, **OBJECT.validate_json(text)})
