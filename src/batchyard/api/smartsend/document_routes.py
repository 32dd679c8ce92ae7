"""Calls about documents: lists with signed addresses, merged labels, and what is behind a link."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

from batchyard.api.smartsend import answers, faults, queries, replies
from batchyard.api.smartsend.faults import Refused
from batchyard.api.smartsend.language import translate as say
from batchyard.api.smartsend.messages import Message
from batchyard.api.smartsend.replies import Documented, make_router, told
from batchyard.api.smartsend.requests import (
    BatchId,
    ShipmentId,
    Visit,
    Visiting,
    check_request_id,
)
from batchyard.operations import documents

LINK_PREFIX = "/api/v2/documents"
MEDIA_TYPES = {"pdf": "application/pdf", "zpl": "application/zpl"}
MAX_CHOSEN = 1000
WEIGHT = re.compile(r"0(\.\d*)?|1(\.0*)?", re.ASCII)

Format = Literal["pdf", "zpl"]

FILES: Documented = {
    200: {
        "description": "The file",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in MEDIA_TYPES.values()
        },
    },
}

router = make_router("Documents")
signed = APIRouter(
    prefix=LINK_PREFIX,
    dependencies=[Depends(check_request_id)],
    tags=["Documents"],
    responses={
        403: {"model": answers.Done, "description": "The link has expired"},
        404: {"model": answers.Done, "description": "The link leads nowhere"},
        422: {"model": answers.Invalid, "description": "The Request-ID is not valid"},
    },
)


@router.get("/shipments/{shipment}/documents", responses=told(200, answers.Documents))
async def list_documents(request: Request, visit: Visiting, shipment: ShipmentId) -> Response:
    """List the labels and customs papers of a shipment; the addresses work without a token."""
    papers = await documents.list_papers(visit.db, team=visit.team, shipment_id=shipment)
    key = await _key(request)
    expires_at = visit.db.clock() + timedelta(seconds=visit.config.document_link_seconds)
    base_url = f"{visit.base_url}{LINK_PREFIX}"
    return replies.data(
        [
            {
                "uuid": str(paper.id),
                "kind": paper.kind,
                "format": paper.format,
                "url": f"{base_url}/{paper.link.token(key, expires_at=expires_at)}",
            }
            for paper in papers
        ]
    )


@router.get(
    "/booking-batches/{batch}/documents",
    responses={
        **FILES,
        406: {"model": answers.Done, "description": "Neither format is accepted"},
    },
    response_class=StreamingResponse,
)
async def merge_labels(
    request: Request,
    visit: Visiting,
    batch: BatchId,
    format: Annotated[  # noqa: A002  # the name in the address
        Format | None, Query(description="`pdf` unless Accept asks for `application/zpl`")
    ] = None,
    shipment: Annotated[
        list[UUID] | None,
        Query(max_length=MAX_CHOSEN, description="only the labels of these; may be repeated"),
    ] = None,
) -> Response:
    """Return the labels of a batch as one file, in the order of the batch."""
    wanted = format or _accepted(request)
    async with visit.db.pool.connection() as connection:
        await queries.read_batch(
            connection, team_id=visit.team.id, batch_id=batch, lost_before=visit.lost_before
        )
    if shipment is not None:
        await _check_chosen(visit, batch, shipment, format_=wanted)
    parts = documents.join_labels(
        visit.db,
        request.app.state.files,
        team=visit.team,
        batch_id=batch,
        format_=wanted,
        chosen=shipment,
    )
    # The first part before the answer begins: afterwards no fault can be told any more.
    first = await anext(parts, None)
    if first is None:
        raise faults.refused(Message.NO_LABELS, under="shipments", language=visit.language)
    return StreamingResponse(
        _all(first, parts),
        media_type=MEDIA_TYPES[wanted],
        headers={"Content-Disposition": f'attachment; filename="labels-{batch}.{wanted}"'},
    )


@signed.get("/{token}", responses=FILES, response_class=Response)
async def open_document(
    request: Request,
    token: Annotated[str, Path(description="as an address in the list of documents holds it")],
) -> Response:
    """Return the file behind a signed address, without a token of a team."""
    state = request.app.state
    key = await _key(request)
    found = await documents.open_link(state.db, state.files, key=key, token=token)
    return Response(
        found.content,
        media_type=MEDIA_TYPES[found.format],
        headers={
            "Content-Disposition": f'inline; filename="{found.name}.{found.format}"',
            "Cache-Control": "private, no-store",
        },
    )


async def _check_chosen(visit: Visit, batch: UUID, chosen: list[UUID], *, format_: Format) -> None:
    misfits = await documents.find_misfits(
        visit.db, team=visit.team, batch_id=batch, format_=format_, chosen=chosen
    )
    told = {
        f"shipment.{index}": [say(message, language=visit.language)]
        for indexes, message in (
            (misfits.unknown, Message.SHIPMENT_ELSEWHERE),
            (misfits.unlabelled, Message.NO_LABEL),
        )
        for index in indexes
    }
    if told:
        raise Refused(Message.INVALID, faults=told)


def _accepted(request: Request) -> Format:
    """Return the format that Accept likes best, PDF where it likes both alike; raise 406."""
    likings = _likings(",".join(request.headers.getlist("accept")) or "*/*")

    def liking(format_: Format) -> float:
        # The range that says most about a format counts (RFC 9110, 12.5.1).
        ranges = (MEDIA_TYPES[format_], "application/*", "*/*")
        return next((likings[one] for one in ranges if one in likings), 0.0)

    formats: tuple[Format, Format] = ("pdf", "zpl")
    best = max(formats, key=liking)
    if liking(best) == 0:
        raise HTTPException(406)
    return best


def _likings(accept: str) -> dict[str, float]:
    """Return how much each media range is liked, from 0 to 1; without what is no weight."""
    likings: dict[str, float] = {}
    for one in accept.split(","):
        media_range, *parameters = one.replace(" ", "").lower().split(";")
        weights = [part[2:] for part in parameters if part.startswith("q=")]
        if not weights:
            likings[media_range] = 1.0
        elif WEIGHT.fullmatch(weights[0]):
            likings[media_range] = float(weights[0])
    return likings


async def _all(first: bytes, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in parts:
        yield part


async def _key(request: Request) -> bytes:
    """Return the key of links; it never changes, so it is read once."""
    state = request.app.state
    if state.document_key is None:
        state.document_key = await documents.document_key(state.db)
    key: bytes = state.document_key
    return key
