"""The parts of a request as the routes of this door take them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Path, Query, Request
from fastapi.security import HTTPBearer
from pydantic import BeforeValidator

from batchyard.api.smartsend import wire
from batchyard.api.smartsend.catalogue import Offers
from batchyard.api.smartsend.gate import MAX_REQUEST_ID_LENGTH, read_request_id
from batchyard.api.smartsend.messages import Message
from batchyard.api.smartsend.queries import Page
from batchyard.api.smartsend.translate import Audience
from batchyard.config import Config
from batchyard.errors import NotFound
from batchyard.models import Principal, Team
from batchyard.operations.access import token_actor
from batchyard.operations.audit import Actor, note
from batchyard.store.db import Connection, Database

UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
PRINTABLE = "^[ -~\u00a1-\u00ac\u00ae-\u00ff]*$"
"""What of Latin-1 can be printed; characters beyond it are taken too, in UTF-8."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """Who asks, in which language, and where the answers come from."""

    db: Database
    config: Config
    team: Team
    actor: Actor
    """Who the audit log names."""
    language: str
    offers: Offers
    base_url: str
    """Where this server is reached, without a slash at the end."""

    async def note(
        self,
        conn: Connection,
        action: str,
        *,
        subject: UUID,
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object],
    ) -> None:
        """Write the trace of a change, in its transaction."""
        await note(
            conn,
            team=self.team,
            actor=self.actor,
            action=action,
            subject=str(subject),
            before=before,
            after=after,
            now=self.db.clock(),
        )

    async def audience(self) -> Audience:
        """Return for whom answers with shipments and services are made."""
        return Audience(language=self.language, offer=await self.offers.of(self.team))

    @property
    def team_url(self) -> str:
        """Where the team's things are."""
        return f"{self.base_url}/api/v2/team/{self.team.slug}"

    @property
    def lost_before(self) -> datetime:
        """Outcomes unknown since before this time are shown as failed."""
        return self.db.clock() - timedelta(seconds=self.config.unknown_grace_seconds)


def _check_request_id(header: object) -> object:
    if isinstance(header, str) and read_request_id(header) is None:
        raise wire.fault(Message.NOT_PRINTABLE)
    return header


RequestId = Annotated[
    str | None,
    BeforeValidator(_check_request_id),
    Header(
        alias="Request-ID",
        description="1 to 128 printable characters, echoed in the answer",
        json_schema_extra={
            "minLength": 1,
            "maxLength": MAX_REQUEST_ID_LENGTH,
            "pattern": PRINTABLE,
        },
    ),
]


async def check_request_id(request_id: RequestId = None) -> None:
    """Check and document the Request-ID of a call that has no visit."""
    del request_id


async def visit(
    request: Request,
    team: Annotated[str, Path(min_length=1, description="UUID or slug of the token's team")],
    accept_language: Annotated[
        str | None,
        Header(
            alias="Accept-Language",
            description="languages (BCP 47) with q-values (RFC 9110)",
            examples=["da-DK, da;q=0.9, en;q=0.8"],
        ),
    ] = None,
    request_id: RequestId = None,
) -> Visit:
    """Return what the gate found out; the parameters are checked and documented here."""
    del team, accept_language, request_id
    principal: Principal = request.state.principal
    state, config = request.app.state, request.app.state.config
    return Visit(
        db=state.db,
        config=config,
        team=principal.team,
        actor=Actor(
            name=token_actor(principal.name, principal.token_id),
            source=request.client.host if request.client else None,
        ),
        language=request.state.language,
        offers=state.offers,
        base_url=(config.public_url or str(request.base_url)).rstrip("/"),
    )


def _uuid(text: object) -> UUID:
    # Not a fault of the request: a path that names no possible thing.
    if not isinstance(text, str) or not UUID_TEXT.fullmatch(text):
        raise NotFound
    return UUID(text)


async def page(
    page: Annotated[int, Query(ge=1, description="counts from 1")] = 1,
    per_page: Annotated[int, Query(ge=1, le=1000, description="entries of a page")] = 100,
) -> Page:
    """Return which part of a list is asked for."""
    return Page(number=page, size=per_page)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preferences:
    """What the client would like best (RFC 7240)."""

    is_async: bool = False
    """Not to wait for the end of a booking."""
    is_lenient: bool = False
    """To have good shipments taken though others are not."""


async def preferences(
    request: Request,
    prefer: Annotated[
        str | None,
        Header(alias="Prefer", description="`respond-async`, `handling=lenient` (RFC 7240)"),
    ] = None,
) -> Preferences:
    """Read what this door understands of Prefer; the first of two that disagree wins."""
    del prefer
    wishes: dict[str, str] = {}
    for one in ",".join(request.headers.getlist("prefer")).split(","):
        name, _, value = one.partition(";")[0].partition("=")
        wishes.setdefault(name.strip().lower(), value.strip().strip('"').lower())
    return Preferences(
        is_async="respond-async" in wishes, is_lenient=wishes.get("handling") == "lenient"
    )


Visiting = Annotated[Visit, Depends(visit)]
BatchId = Annotated[UUID, BeforeValidator(_uuid), Path()]
ShipmentId = Annotated[UUID, BeforeValidator(_uuid), Path()]
OperationId = Annotated[UUID, BeforeValidator(_uuid), Path()]
Paging = Annotated[Page, Depends(page)]
Preferring = Annotated[Preferences, Depends(preferences)]
bearer = HTTPBearer(auto_error=False, description="`batchyard token create` makes one")
"""Only for the document: the gate has checked the token before."""
