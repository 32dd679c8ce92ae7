"""Who calls, and what the token allows."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from batchyard.api.operator.problems import Unauthorized
from batchyard.config import Config
from batchyard.errors import Forbidden
from batchyard.models import Principal, Team
from batchyard.operations.access import ADMIN_SCOPE, authenticate
from batchyard.store.db import Database

BEARER = re.compile(r"bearer +([\x21-\x7e]+)", re.IGNORECASE)
bearer = HTTPBearer(auto_error=False, description="a token of `batchyard token create`")


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """A recognised client, and what its requests are answered from."""

    principal: Principal
    config: Config
    db: Database
    source: str | None

    @property
    def team(self) -> Team:
        """The token's team; everything is looked up within it."""
        return self.principal.team

    @property
    def actor(self) -> str:
        """Who the audit log names."""
        return f"token {self.principal.name} ({self.principal.token_id})"


def needs(scope: str) -> Callable[[Request], Awaitable[Caller]]:
    """Return a dependency that lends the caller where its token has this scope."""

    async def recognise(request: Request) -> Caller:
        db: Database = request.app.state.db
        match = BEARER.fullmatch(request.headers.get("authorization", "").strip())
        principal = await authenticate(db, token=match[1]) if match else None
        if principal is None:
            raise Unauthorized
        if not {scope, ADMIN_SCOPE} & principal.scopes:
            raise Forbidden(f"This token lacks the scope {scope}.")
        return Caller(
            principal=principal,
            config=request.app.state.config,
            db=db,
            source=request.client.host if request.client else None,
        )

    recognise.__dict__["scope"] = scope
    return recognise


READ = Depends(needs("batches:read"))
WRITE = Depends(needs("batches:write"))
WEBHOOKS = Depends(needs("webhooks"))
CONTACTS = Depends(needs("contacts"))
AUDIT = Depends(needs("audit:read"))
ADMIN = Depends(needs(ADMIN_SCOPE))
