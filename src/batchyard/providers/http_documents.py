"""The documents of a booking: decoded or fetched, all of them or none."""

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import httpx

from batchyard.errors import InvalidRequest, ProviderError
from batchyard.models import Accepted, Document, JsonObject, Lost, Request
from batchyard.network import fault_of_url
from batchyard.providers.http_answers import Booked, describe
from batchyard.providers.http_exchange import Exchange

MARK = "batchyard"
"""The key of our own note in a result that waits for its documents."""

PARALLEL = 4
FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(minutes=5)

GIVE_UP_AFTER = timedelta(hours=1)
"""So long missing documents are fetched again; then a person decides."""


def check(booked: Booked) -> None:
    """Raise `InvalidRequest` where a document is no base64 or its URL cannot be used."""
    for document in _listed(booked.result):
        if "base64" in document:
            _decode(document)
        elif fault := fault_of_url(str(document["url"])):
            raise InvalidRequest(f"The URL of a document {fault}.")


def are_at_hand(booked: Booked) -> bool:
    """Tell whether nothing has to be fetched."""
    return all("base64" in document for document in _listed(booked.result))


async def collect(exchange: Exchange, booked: Booked, *, deadline: float) -> list[Document]:
    """Return every document of a booking; raise `ProviderError` when one cannot be had."""
    gate = asyncio.Semaphore(PARALLEL)

    async def get(document: JsonObject) -> Document:
        if "base64" in document:
            return _document(document, _decode(document))
        async with gate:
            return _document(document, await _fetch(exchange, str(document["url"]), deadline))

    tasks = [asyncio.create_task(get(document)) for document in _listed(booked.result)]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def keep(request: Request, booked: Booked, *, now: datetime, check_at: datetime) -> Accepted:
    """Keep a booking whose documents are missing: it is done, and never asked for again."""
    since = waiting_since(request) or now
    mark = {"key": request.key, "waits_for_documents_since": since.isoformat()}
    return Accepted(
        status="processing",
        reference=booked.reference,
        result={**booked.result, MARK: mark},
        check_at=check_at,
    )


def keep_on(request: Request, booked: Booked, *, now: datetime) -> Accepted | Lost:
    """Keep a booking after a failed fetch: fetched again more and more rarely, then given up."""
    since = waiting_since(request) or now
    if now - since > GIVE_UP_AFTER:
        return Lost(code="document_unavailable", message="Booked, but a document cannot be had.")
    pause = min(max((now - since) / 2, FIRST_PAUSE), LONGEST_PAUSE)
    return keep(request, booked, now=now, check_at=now + pause)


def find_kept(request: Request) -> Booked | None:
    """Return the booking whose documents this very key still waits for."""
    known = request.known_result
    if known is None or waiting_since(request) is None:
        return None
    result = {key: value for key, value in known.items() if key != MARK}
    return Booked(result=result, reference=request.reference)


def waiting_since(request: Request) -> datetime | None:
    """Return since when this very key waits for documents; another attempt's do not count."""
    mark = (request.known_result or {}).get(MARK)
    if not isinstance(mark, Mapping) or mark.get("key") != request.key:
        return None
    return datetime.fromisoformat(str(mark["waits_for_documents_since"]))


async def _fetch(exchange: Exchange, url: str, deadline: float) -> bytes:
    reply = await exchange.carry("GET", httpx.URL(url), headers={}, deadline=deadline)
    if reply.status != 200:
        raise ProviderError(describe(reply))
    if not reply.body:
        raise ProviderError("The document is empty.")
    return reply.body


def _listed(result: JsonObject) -> Sequence[JsonObject]:
    documents = result.get("documents")
    return documents if isinstance(documents, list) else ()


def _decode(document: JsonObject) -> bytes:
    try:
        return base64.b64decode("".join(str(document["base64"]).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("A document is no base64.") from error


def _document(document: JsonObject, content: bytes) -> Document:
    parcel = document.get("parcel")
    return Document(
        kind=document["kind"],  # type: ignore[arg-type]  # held by the schema
        format=document["format"],  # type: ignore[arg-type]
        parcel=int(parcel) if isinstance(parcel, int | float) else None,
        content=content,
    )
