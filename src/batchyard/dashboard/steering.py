"""Do something to a batch: first a question that says to how many items, then the deed."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from batchyard.dashboard.batch_head import read_standing
from batchyard.dashboard.deeds import DEEDS, Deed, consequences, deeds_for, retriable
from batchyard.dashboard.frame import frame_of, go_to
from batchyard.dashboard.standing import Standing
from batchyard.dashboard.visitors import WRITE, Visitor
from batchyard.errors import InvalidRequest, NotFound
from batchyard.operations import steering
from batchyard.operations.changes import FAILED_STATUSES
from batchyard.operations.steering import Steer

router = APIRouter()


@router.get("/batches/{batch_id}/do/{deed}")
async def ask(
    request: Request, visitor: Annotated[Visitor, WRITE], batch_id: UUID, deed: str
) -> Response:
    """Ask whether it is really meant."""
    known = _deed(deed)
    standing = await read_standing(visitor, batch_id)
    return frame_of(request).page(
        request,
        visitor,
        "confirm.html",
        standing=standing,
        deed=known,
        is_possible=known in deeds_for(standing),
        consequences=consequences(known, standing, visitor.voice),
        retriable=retriable(standing) if known.steer is None else {},
        usual=FAILED_STATUSES[standing.batch.kind],
    )


@router.post("/batches/{batch_id}/do/{deed}")
async def do(
    request: Request, visitor: Annotated[Visitor, WRITE], batch_id: UUID, deed: str
) -> Response:
    """Do it, and go back to the batch."""
    known = _deed(deed)
    standing = await read_standing(visitor, batch_id)
    if known.steer is None:
        return await _retry(request, visitor, standing)
    await steering.steer_batch(
        visitor.db,
        team=visitor.team,
        actor=visitor.actor,
        kind=standing.batch.kind,
        batch_id=batch_id,
        steer=known.steer,
    )
    path = "/batches" if known.steer is Steer.DELETE else f"/batches/{batch_id}"
    return go_to(path, visitor.config, notice=visitor.voice.say(known.done))


async def _retry(request: Request, visitor: Visitor, standing: Standing) -> Response:
    form = await request.form()
    statuses = [word for word in form.getlist("status") if isinstance(word, str)]
    if not statuses:
        raise InvalidRequest("Choose what is tried again.")
    retried = await steering.retry_failed(
        visitor.db,
        team=visitor.team,
        actor=visitor.actor,
        kind=standing.batch.kind,
        batch_id=standing.batch.id,
        statuses=statuses,
    )
    notice = visitor.voice.count(retried, "1 item is tried again.", "{n} items are tried again.")
    return go_to(f"/batches/{standing.batch.id}", visitor.config, notice=notice)


def _deed(name: str) -> Deed:
    if name not in DEEDS:
        raise NotFound("There is no such thing to do.")
    return DEEDS[name]
