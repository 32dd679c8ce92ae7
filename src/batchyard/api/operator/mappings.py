"""What the columns of a team's lists mean: proposed for a header, saved under a name."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from batchyard.api.operator.access import READ, WRITE, Caller, KnownRoute
from batchyard.models import Kind
from batchyard.operations import mappings
from batchyard.operations.transactions import one_transaction
from batchyard.store.mappings import SavedMapping

router = APIRouter(prefix="/mappings", tags=["Uploads"], route_class=KnownRoute)

Cell = Annotated[str, Field(max_length=1000)]
Header = Annotated[list[Cell], Field(min_length=1, max_length=mappings.MAX_COLUMNS)]
Meanings = Annotated[dict[Cell, str | None], Field(max_length=mappings.MAX_COLUMNS)]
Name = Annotated[
    str,
    Path(max_length=mappings.MAX_NAME_LENGTH),
    StringConstraints(strip_whitespace=True),
]
NAMED = "/{kind}/{name:path}"
"""A name may have a slash, which arrives as one however it was written."""


class NewMapping(BaseModel):
    """What columns mean."""

    model_config = ConfigDict(extra="forbid")

    mapping: Meanings = Field(description="meanings by the names of columns; null leaves one out")
    header: Header | None = Field(
        default=None, description="when this very header comes again, the mapping is offered"
    )


class MappingShown(BaseModel):
    """A saved mapping."""

    id: UUID
    kind: Kind
    name: str
    mapping: dict[str, str | None]
    created_at: datetime
    updated_at: datetime


class Question(BaseModel):
    """A header that somebody wants to upload."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    header: Header


class Proposed(BaseModel):
    """What the columns seem to mean."""

    columns: list[str]
    mapping: dict[str, str | None]
    guessed: list[str] = Field(description="found by a usual other name")
    missing: list[str] = Field(description="what no column was found for")
    saved_as: str | None = Field(description="the saved mapping for this very header")


@router.get("")
async def list_mappings(
    caller: Annotated[Caller, READ], kind: Kind | None = None
) -> dict[str, list[MappingShown]]:
    """List the team's mappings."""
    rows = await mappings.list_mappings(caller.db, team=caller.team, kind=kind)
    return {"data": [MappingShown.model_validate(asdict(row)) for row in rows]}


@router.put(NAMED, status_code=204)
async def save_mapping(
    caller: Annotated[Caller, WRITE], kind: Kind, name: Name, new: NewMapping
) -> Response:
    """Keep what columns mean under a name; an upload names it, or is offered it."""
    async with one_transaction(caller.work) as work:
        before = await mappings.read_mapping(work, team=caller.team, kind=kind, name=name)
        await mappings.save_mapping(
            work, team=caller.team, kind=kind, name=name, mapping=new.mapping, header=new.header
        )
        await caller.note(
            work.connection,
            "mapping.save",
            subject=name,
            before=None if before is None else _kept(before),
            after={"kind": kind, **new.model_dump()},
        )
    return Response(status_code=204)


@router.delete(NAMED, status_code=204)
async def delete_mapping(caller: Annotated[Caller, WRITE], kind: Kind, name: Name) -> Response:
    """Forget a mapping."""
    async with one_transaction(caller.work) as work:
        before = await mappings.read_mapping(work, team=caller.team, kind=kind, name=name)
        await mappings.delete_mapping(work, team=caller.team, kind=kind, name=name)
        await caller.note(
            work.connection,
            "mapping.delete",
            subject=name,
            before=None if before is None else _kept(before),
            after={"is_deleted": True},
        )
    return Response(status_code=204)


@router.post("/propose")
async def propose_mapping(caller: Annotated[Caller, READ], question: Question) -> Proposed:
    """Tell what the columns of a header seem to mean; nothing is kept."""
    found = await mappings.propose_for(
        caller.db, team=caller.team, kind=question.kind, header=question.header
    )
    return Proposed.model_validate(asdict(found))


def _kept(saved: SavedMapping) -> dict[str, object]:
    return {"kind": saved.kind, "mapping": dict(saved.mapping)}
