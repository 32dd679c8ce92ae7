"""Who sends a request, and the version of the API it is answered in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, Request

from batchyard.api.bolna.answers import AccessDenied, Refusal
from batchyard.api.bolna.queries import View
from batchyard.api.bolna.translate import DEFAULT_VERSION, DOOR, Version, pick_version
from batchyard.config import Config
from batchyard.errors import Forbidden
from batchyard.models import Principal, Team
from batchyard.operations.access import (
    READ_SCOPE,
    WRITE_SCOPE,
    Memory,
    authenticate,
    may,
    token_actor,
)
from batchyard.operations.audit import Actor, note
from batchyard.store.db import Connection, Database

BEARER = re.compile(r"bearer +([\x21-\x7e]+)", re.IGNORECASE)
VERSION_HEADER = "Bolna-Version"


@dataclass(frozen=True, kw_only=True, slots=True)
class Speaker:
    """A recognised client, and what its requests are answered from."""

    team: Team
    actor: Actor
    """Who the audit log names."""
    version: Version
    config: Config
    db: Database
    unproven: bytes | None = None
    """Of who is only remembered: the hash of the token that the route's own statement proves."""

    @property
    def webhook_format(self) -> str:
        """Name the words in which webhooks of this client are written."""
        return f"{DOOR}/{self.version}"

    async def note(
        self,
        conn: Connection,
        action: str,
        *,
        subject: UUID,
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object] | None = None,
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

    def view(self) -> View:
        """Return how this client sees its batches now."""
        return View(
            team_id=self.team.id,
            version=self.version,
            now=self.db.clock(),
            unknown_grace=timedelta(seconds=self.config.unknown_grace_seconds),
        )


def furnish(app: FastAPI, *, config: Config, db: Database) -> None:
    """Give the application what `recognise` needs."""
    app.state.config, app.state.db, app.state.memory = config, db, Memory()


async def recognise(request: Request) -> Speaker:
    """Find out who speaks, and whether that may be asked of us.

    Raises `AccessDenied`, `Refusal` for a version that is none, and `Forbidden` for a token that
    lacks the scope.
    """
    db: Database = request.app.state.db
    header = request.headers.get(VERSION_HEADER)
    match = BEARER.fullmatch(request.headers.get("authorization", "").strip())
    principal = await authenticate(db, token=match[1]) if match else None
    if match is None or principal is None:
        raise AccessDenied(_version_of_refusal(header))
    memory: Memory = request.app.state.memory
    memory.remember(match[1], principal)
    return _speaker(request, principal)


def recall(request: Request) -> Speaker | None:
    """Return who spoke by this token before, for a route that proves it; None: nobody.

    Raises as `recognise` does.
    """
    memory: Memory = request.app.state.memory
    match = BEARER.fullmatch(request.headers.get("authorization", "").strip())
    recalled = memory.recall(match[1]) if match else None
    if recalled is None:
        return None
    principal, token_hash = recalled
    return replace(_speaker(request, principal), unproven=token_hash)


def _speaker(request: Request, principal: Principal) -> Speaker:
    header = request.headers.get(VERSION_HEADER)
    try:
        version = pick_version(header=header, pinned=principal.bolna_version)
    except ValueError:
        known = " or ".join(Version)
        raise Refusal(400, f"{VERSION_HEADER} must be {known}.") from None
    scope = READ_SCOPE if request.method == "GET" else WRITE_SCOPE
    if not may(principal, scope=scope):
        raise Forbidden(f"This token lacks the scope {scope}.")
    name = token_actor(principal.name, principal.token_id)
    source = request.client.host if request.client else None
    return Speaker(
        team=principal.team,
        actor=Actor(name=name, source=source),
        version=version,
        config=request.app.state.config,
        db=request.app.state.db,
    )


def _version_of_refusal(header: str | None) -> Version:
    try:
        return pick_version(header=header, pinned=None)
    except ValueError:
        return DEFAULT_VERSION


async def _recognised(request: Request) -> Speaker:
    speaker: Speaker = request.state.speaker
    if speaker.unproven is not None:
        raise LookupError("only a route that proves its token may answer somebody remembered")
    return speaker


async def _recalled(request: Request) -> Speaker:
    speaker: Speaker = request.state.speaker
    return speaker


Speaks = Annotated[Speaker, Depends(_recognised)]
"""Who speaks, as the gate has found out."""
Recalls = Annotated[Speaker, Depends(_recalled)]
"""Who speaks, or who spoke by this token before: then the answer proves it, or is none."""
