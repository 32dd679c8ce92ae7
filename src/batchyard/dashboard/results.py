"""What became of a batch: its outcomes, and files of them for people, programs and the record."""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from batchyard.dashboard.batch_head import batch_page, read_head
from batchyard.dashboard.visitors import READ, Visitor
from batchyard.errors import NotFound
from batchyard.operations import documents, evidence, results

CSV = "text/csv; charset=utf-8"
NDJSON = "application/x-ndjson"

router = APIRouter()


@router.get("/batches/{batch_id}/results")
async def show_results(
    request: Request, visitor: Annotated[Visitor, READ], batch_id: UUID
) -> Response:
    """Show how the items ended, and offer the files."""
    head = await read_head(visitor, batch_id)
    batch, figures = head.standing.batch, head.standing.figures
    return batch_page(
        request,
        visitor,
        "batch_results.html",
        head=head,
        tab="/results",
        has_evidence=evidence.is_final(batch.state, open_items=figures.unsent + figures.in_flight),
    )


@router.get("/batches/{batch_id}/results/{name}")
async def download_results(
    request: Request, visitor: Annotated[Visitor, READ], batch_id: UUID, name: str
) -> Response:
    """Send a file of results, as it is written."""
    db, files = visitor.db, request.app.state.files
    batch = await results.find_batch(db, team=visitor.team, batch_id=batch_id)
    match name:
        case "results.csv":
            return await _file(results.render_results(db, batch), CSV, f"results-{batch_id}.csv")
        case "results.ndjson":
            parts = results.render_ndjson(db, batch)
            return await _file(parts, NDJSON, f"results-{batch_id}.ndjson")
        case "labels.pdf":
            parts = documents.join_labels(
                db, files, team=visitor.team, batch_id=batch_id, format_="pdf", chosen=None
            )
            return await _file(
                parts, "application/pdf", f"labels-{batch_id}.pdf", none="The batch has no labels."
            )
        case "evidence.zip":
            evidence.check_ended(batch)
            parts = evidence.render_evidence(db, files, batch, team=visitor.team)
            return await _file(parts, "application/zip", f"evidence-{batch_id}.zip")
    raise NotFound("There is no such file.")


async def _file(
    parts: AsyncIterator[bytes], media_type: str, name: str, *, none: str | None = None
) -> Response:
    """Answer with a file; its first part is made before, so that a fault can still be told."""
    first = await anext(parts, None)
    if first is None and none is not None:
        raise NotFound(none)

    async def whole() -> AsyncIterator[bytes]:
        yield first or b""
        async for part in parts:
            yield part

    return StreamingResponse(
        whole(),
        media_type=media_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
