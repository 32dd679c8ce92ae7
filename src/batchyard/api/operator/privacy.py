"""Privacy: what is stored about one person, its erasure, and how long things are kept."""

from collections.abc import AsyncIterator, Mapping
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from batchyard.api.operator.access import ADMIN, Caller, KnownRoute
from batchyard.operations import privacy, retention
from batchyard.operations.privacy import Page
from batchyard.operations.retention import LEAST_DAYS, MOST_DAYS

router = APIRouter(tags=["Privacy"], route_class=KnownRoute)

Kept = Annotated[int, Field(ge=LEAST_DAYS, le=MOST_DAYS["items_days"])]
KeptOfWebhooks = Annotated[int, Field(ge=LEAST_DAYS, le=MOST_DAYS["webhooks_days"])]


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

    items_days: Kept | None = None
    transcripts_days: Kept | None = None
    documents_days: Kept | None = None
    events_days: Kept | None = None
    webhooks_days: KeptOfWebhooks | None = None
    idempotency_days: Kept | None = Field(
        default=None,
        description="for so long an `Idempotency-Key` is remembered, with its answer",
    )


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
    """Set for how many days the team keeps what; what is left out takes the default."""
    return await _change(caller, days.model_dump())


@router.patch("/retention")
async def change_retention(caller: Annotated[Caller, ADMIN], days: Days) -> dict[str, int]:
    """Change for how many days the team keeps some of it; what is left out stays."""
    return await _change(caller, days.model_dump(exclude_unset=True))


async def _change(caller: Caller, days: Mapping[str, int | None]) -> dict[str, int]:
    return dict(
        await retention.change_days(caller.work, team=caller.team, actor=caller.actor, days=days)
    )
