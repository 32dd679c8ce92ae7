"""Labels and other documents of an item: as they are, and as pictures of their first page."""

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import Response

from batchyard.dashboard.visitors import READ, Visitor
from batchyard.errors import NotFound
from batchyard.operations import documents
from batchyard.operations.documents import Content
from batchyard.operations.pictures import draw_page

MEDIA_TYPES = {"pdf": "application/pdf", "zpl": "application/zpl"}
KEPT = "private, max-age=3600"

router = APIRouter()


@router.get("/papers/{token}")
async def send_paper(request: Request, visitor: Annotated[Visitor, READ], token: str) -> Response:
    """Send a document."""
    paper = await _open(request, visitor, token)
    return Response(
        paper.content,
        media_type=MEDIA_TYPES[paper.format],
        headers={
            "Content-Disposition": f'attachment; filename="{paper.name}.{paper.format}"',
            "Cache-Control": KEPT,
        },
    )


@router.get("/papers/{token}/picture")
async def send_picture(request: Request, visitor: Annotated[Visitor, READ], token: str) -> Response:
    """Send a picture of its first page."""
    paper = await _open(request, visitor, token)
    if paper.format != "pdf":
        raise NotFound("Only a PDF can be shown as a picture.")
    picture = await draw_page(paper.content)
    return Response(picture, media_type="image/png", headers={"Cache-Control": KEPT})


async def _open(request: Request, visitor: Visitor, token: str) -> Content:
    key = await documents.document_key(visitor.db)
    return await documents.open_link(visitor.db, request.app.state.files, key=key, token=token)
