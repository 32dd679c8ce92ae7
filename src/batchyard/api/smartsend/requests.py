"""The parts of a request as the routes of this door take them."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Path, Query, Request
from fastapi.security import HTTPBearer
from pydantic import BeforeValidator, ValidationError

from batchyard.api.smartsend import faults, wire
from batchyard.api.smartsend.faults import Refused
from batchyard.api.smartsend.gate import MAX_REQUEST_ID_LENGTH, read_request_id
from batchyard.api.smartsend.messages import Message
from batchyard.api.smartsend.queries import Page
from batchyard.config import Config
from batchyard.errors import NotFound
from batchyard.models import JsonObject, Principal, Team
from batchyard.store.db import Database
from batchyard.store.ids import new_id

UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
CHECKED_AT_ONCE = 100
"""After so many shipments others get their turn on the event loop."""
MAX_FAULTS = 50_000
"""Looking for more faults in one body stops here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """Who asks, in which language, and where the answers come from."""

    db: Database
    config: Config
    team: Team
    language: str

    @property
    def lost_before(self) -> datetime:
        """Outcomes unknown since before this time are shown as failed."""
        return self.db.clock() - timedelta(seconds=self.config.unknown_grace_seconds)


def _check_request_id(header: object) -> object:
    if isinstance(header, str) and read_request_id(header) is None:
        raise wire.fault(Message.NOT_PRINTABLE)
    return header


def visit(
    request: Request,
    team: Annotated[str, Path(min_length=1, description="UUID or slug of the token's team")],
    accept_language: Annotated[
        str | None, Header(description="languages (BCP 47) with q-values (RFC 9110)")
    ] = None,
    request_id: Annotated[
        str | None,
        BeforeValidator(_check_request_id),
        Header(
            alias="Request-ID",
            description="1 to 128 printable characters, echoed in the answer",
            json_schema_extra={"minLength": 1, "maxLength": MAX_REQUEST_ID_LENGTH},
        ),
    ] = None,
) -> Visit:
    """Return what the gate found out; the parameters are checked and documented here."""
    del team, accept_language, request_id
    principal: Principal = request.state.principal
    return Visit(
        db=request.app.state.db,
        config=request.app.state.config,
        team=principal.team,
        language=request.state.language,
    )


def _uuid(text: object) -> UUID:
    # Not a fault of the request: a path that names no possible thing.
    if not isinstance(text, str) or not UUID_TEXT.fullmatch(text):
        raise NotFound
    return UUID(text)


def page(
    page: Annotated[int, Query(ge=1, description="counts from 1")] = 1,
    per_page: Annotated[int, Query(ge=1, le=1000, description="entries of a page")] = 100,
) -> Page:
    """Return which part of a list is asked for."""
    return Page(number=page, size=per_page)


Visiting = Annotated[Visit, Depends(visit)]
BatchId = Annotated[UUID, BeforeValidator(_uuid), Path()]
ShipmentId = Annotated[UUID, BeforeValidator(_uuid), Path()]
Paging = Annotated[Page, Depends(page)]
bearer = HTTPBearer(auto_error=False, description="`batchyard token create` makes one")
"""Only for the document: the gate has checked the token before."""


async def check_shipments(given: Sequence[object], *, language: str) -> list[JsonObject]:
    """Return the shipments as they are stored; raise `Refused` with every fault of all."""
    checked: list[JsonObject] = []
    found: faults.Faults = {}
    for index, one in enumerate(given):
        if index % CHECKED_AT_ONCE == 0:
            await asyncio.sleep(0)
        try:
            shipment = wire.Shipment.model_validate(one)
        except ValidationError as error:
            found |= faults.tell(
                error.errors(include_url=False, include_input=False),
                language=language,
                under=("data", index),
            )
            if len(found) > MAX_FAULTS:
                break
        else:
            checked.append(_stored(shipment))
    if found:
        raise Refused(Message.INVALID, faults=found)
    return checked


def _stored(shipment: wire.Shipment) -> JsonObject:
    payload = shipment.model_dump(mode="json")
    payload["parcels"] = [{"uuid": str(new_id()), **parcel} for parcel in payload["parcels"]]
    return payload
