"""Privacy: what is stored about one person, its erasure, and how long things are kept."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from batchyard.api.operator.access import ADMIN, Caller, KnownRoute
from batchyard.operations import privacy, retention
from batchyard.operations.privacy import Page

router = APIRouter(tags=["Privacy"], route_class=KnownRoute)


class Person(BaseModel):
    """Whom: by a number or by an e-mail address. A body, so that no log of addresses has it."""

    model_config = ConfigDict(extra="forbid")

    number: str | None = Field(default=None, max_length=40, description="as +4512345678")
    email: str | None = Field(default=None, max_length=254)


class ErasePerson(Person):
    """Whom to erase."""

    keep_do_not_contact: bool = Field(
        default=False, description="keep the number on the do-not-contact list"
    )


class Erased(BaseModel):
    """What was erased."""

    items: int
    pending: int = Field(description="items in flight: erased as soon as they have ended")
    documents: int
    others: dict[str, int]


class Days(BaseModel):
    """Days that things are kept; null is the default."""

    model_config = ConfigDict(extra="forbid")

    items_days: int | None = Field(default=None, ge=1, le=36_500)
    transcripts_days: int | None = Field(default=None, ge=1, le=36_500)
    documents_days: int | None = Field(default=None, ge=1, le=36_500)
    events_days: int | None = Field(default=None, ge=1, le=36_500)
    webhooks_days: int | None = Field(default=None, ge=1, le=30)


@router.post("/privacy/export")
async def export_person(caller: Annotated[Caller, ADMIN], person: Person) -> Response:
    """Return everything that is stored about a person: lists of rows, by kind."""
    pages = await privacy.export_person(
        caller.db,
        team=caller.team,
        actor=caller.actor,
        number=person.number,
        email=person.email,
    )
    return StreamingResponse(_write(pages), media_type="application/json")


async def _write(pages: AsyncIterator[Page]) -> AsyncIterator[bytes]:
    """Write one object of lists; the pages of a kind come together."""
    written: str | None = None
    is_first = True
    async for kind, rows in pages:
        if kind != written:
            yield b'%s"%s":[' % (b"{" if written is None else b"],", kind.encode())
            written, is_first = kind, True
        if rows:
            yield (b"" if is_first else b",") + ",".join(rows).encode()
            is_first = False
    yield b"]}"


@router.post("/privacy/erase")
async def erase_person(caller: Annotated[Caller, ADMIN], person: ErasePerson) -> Erased:
    """Erase a person across all batches; counts stay, and unsent items are cancelled."""
    done = await privacy.erase_person(
        caller.db,
        team=caller.team,
        actor=caller.actor,
        number=person.number,
        email=person.email,
        keep_do_not_contact=person.keep_do_not_contact,
    )
    return Erased(
        items=done.items, pending=done.pending, documents=done.documents, others=dict(done.others)
    )


@router.get("/retention")
async def read_retention(caller: Annotated[Caller, ADMIN]) -> dict[str, int]:
    """Return for how many days the team keeps what, the defaults filled in."""
    return dict(await retention.read_days(caller.db, team=caller.team))


@router.put("/retention")
async def set_retention(caller: Annotated[Caller, ADMIN], days: Days) -> dict[str, int]:
    """Set for how many days the team keeps what."""
    async with caller.changing(
        "retention.set",
        before=await retention.read_days(caller.db, team=caller.team),
        after=days.model_dump(),
    ) as work:
        await retention.set_days(work, team=caller.team, days=days.model_dump())
    return dict(await retention.read_days(caller.db, team=caller.team))
