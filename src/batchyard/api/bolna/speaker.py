"""Who sends a request, and the version of the API it is answered in."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from batchyard.api.bolna.answers import AccessDenied, Refusal
from batchyard.api.bolna.queries import View
from batchyard.api.bolna.translate import DEFAULT_VERSION, Version, pick_version
from batchyard.config import Config
from batchyard.models import Team
from batchyard.operations.access import authenticate
from batchyard.store.db import Database

BEARER = re.compile(r"bearer +([\x21-\x7e]+)", re.IGNORECASE)
VERSION_HEADER = "Bolna-Version"
DOOR = "bolna"


@dataclass(frozen=True, kw_only=True, slots=True)
class Speaker:
    """A recognised client, and what its requests are answered from."""

    team: Team
    version: Version
    config: Config
    db: Database

    @property
    def webhook_format(self) -> str:
        """Name the words in which webhooks of this client are written."""
        return f"{DOOR}/{self.version}"

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
    app.state.config, app.state.db = config, db


async def recognise(request: Request) -> Speaker:
    """Find out who speaks; raise `AccessDenied`, or `Refusal` for a version that is none."""
    config: Config = request.app.state.config
    db: Database = request.app.state.db
    header = request.headers.get(VERSION_HEADER)
    match = BEARER.fullmatch(request.headers.get("authorization", "").strip())
    principal = await authenticate(db, token=match[1]) if match else None
    if principal is None:
        raise AccessDenied(_version_of_refusal(header))
    try:
        version = pick_version(header=header, pinned=principal.bolna_version)
    except ValueError:
        known = " or ".join(Version)
        raise Refusal(400, f"{VERSION_HEADER} must be {known}.") from None
    return Speaker(team=principal.team, version=version, config=config, db=db)


def _version_of_refusal(header: str | None) -> Version:
    try:
        return pick_version(header=header, pinned=None)
    except ValueError:
        return DEFAULT_VERSION


def _recognised(request: Request) -> Speaker:
    speaker: Speaker = request.state.speaker
    return speaker


Speaks = Annotated[Speaker, Depends(_recognised)]
"""Who speaks, as the gate has found out."""
