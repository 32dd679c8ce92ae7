"""Who calls, and what the token allows."""

import re
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, replace
from typing import Any

from fastapi import Depends, Request, Response
from fastapi.openapi.models import HTTPBearer
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase

from batchyard.api.operator.problems import Unauthorized
from batchyard.api.operator.texts import check_texts
from batchyard.config import Config
from batchyard.engine.inbox import Inbox
from batchyard.errors import Forbidden
from batchyard.models import Principal, Team
from batchyard.operations import audit
from batchyard.operations.access import (
    ADMIN_SCOPE,
    READ_SCOPE,
    Memory,
    authenticate,
    may,
    token_actor,
)
from batchyard.operations.audit import Actor
from batchyard.operations.transactions import Joined, Transactions
from batchyard.store.db import Connection, Database

BEARER = re.compile(r"bearer +([\x21-\x7e]+)", re.IGNORECASE)
KNOWN = "caller"
"""Under this name a request carries who was recognised already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """A recognised client, and what its requests are answered from."""

    principal: Principal
    config: Config
    db: Database
    work: Transactions
    """Where changes are made, and read back: the request's own transaction where it has a key."""
    source: str | None
    inbox: Callable[[], Inbox]
    """What speaks to providers, once the server has started."""
    unproven: bytes | None = None
    """Of who is only remembered: the hash of the token that the route's own statement proves."""

    @property
    def team(self) -> Team:
        """The token's team; everything is looked up within it."""
        return self.principal.team

    @property
    def actor(self) -> Actor:
        """Who the audit log names."""
        name = token_actor(self.principal.name, self.principal.token_id)
        return Actor(name=name, source=self.source)

    def changing(
        self,
        action: str,
        *,
        subject: str | None = None,
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object] | None = None,
    ) -> AbstractAsyncContextManager[Joined]:
        """Lend the transaction of a change, whose trace commits with it."""
        return audit.audited(
            self.work,
            team=self.team,
            actor=self.actor,
            action=action,
            subject=subject,
            before=before,
            after=after,
        )

    async def note(
        self,
        conn: Connection,
        action: str,
        *,
        subject: str | None = None,
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object] | None = None,
    ) -> None:
        """Write the trace of a change in its transaction."""
        await audit.note(
            conn,
            team=self.team,
            actor=self.actor,
            action=action,
            subject=subject,
            before=before,
            after=after,
            now=self.db.clock(),
        )


class Needs(SecurityBase):
    """A dependency that lends the caller where its token has this scope.

    What it says is looked through only then: whoever is unknown gets no work done.
    """

    model = HTTPBearer(description="a token of `batchyard token create`")
    scheme_name = "HTTPBearer"

    def __init__(self, scope: str) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> Caller:
        """Return who calls; raise `Unauthorized`, or `Forbidden` where that scope is missing."""
        known: Caller | None = getattr(request.state, KNOWN, None)
        if known is not None:
            return known
        db: Database = request.app.state.db
        match = BEARER.fullmatch(request.headers.get("authorization", "").strip())
        principal = await authenticate(db, token=match[1]) if match else None
        if match is None or principal is None:
            raise Unauthorized
        memory: Memory = request.app.state.memory
        memory.remember(match[1], principal)
        return await _admit(request, principal, scope=self.scope)


async def _admit(request: Request, principal: Principal, *, scope: str) -> Caller:
    if not may(principal, scope=scope):
        raise Forbidden(f"This token lacks the scope {scope}.")
    await check_texts(request)
    return Caller(
        principal=principal,
        config=request.app.state.config,
        db=request.app.state.db,
        work=request.app.state.db,
        source=request.client.host if request.client else None,
        inbox=request.app.state.inbox,
    )


Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class KnownRoute(APIRoute):
    """A route that recognises who calls before it takes in what they say.

    FastAPI reads and parses a body before any dependency: work for whoever asks.
    """

    def get_route_handler(self) -> Handler:
        """Return what answers a request."""
        answer = super().get_route_handler()

        async def answer_known(request: Request) -> Response:
            setattr(request.state, KNOWN, await self.recognise(request))
            return await answer(request)

        return answer_known

    async def recognise(self, request: Request) -> Caller:
        """Return who asks; raise what the route's own dependency raises of anybody else."""
        for dependency in self.dependant.dependencies:
            if isinstance(dependency.call, Needs):
                return await dependency.call(request)
        raise LookupError(f"{self.path} asks for no scope")


class ProvingRoute(KnownRoute):
    """A route for reading whose own statement proves the token of who is remembered.

    Whatever else comes of it is not believed: who calls is then found out first.
    """

    def get_route_handler(self) -> Handler:
        """Return what answers a request."""
        answer, answer_known = APIRoute.get_route_handler(self), super().get_route_handler()

        async def prove(request: Request) -> Response:
            memory: Memory = request.app.state.memory
            match = BEARER.fullmatch(request.headers.get("authorization", "").strip())
            recalled = memory.recall(match[1]) if match else None
            if recalled is not None:
                principal, token_hash = recalled
                with suppress(Exception):
                    caller = await _admit(request, principal, scope=READ_SCOPE)
                    unproven = replace(caller, unproven=token_hash)
                    setattr(request.state, KNOWN, unproven)
                    return await answer(request)
                setattr(request.state, KNOWN, None)
            return await answer_known(request)

        return prove


READ = Depends(Needs(READ_SCOPE))
WRITE = Depends(Needs("batches:write"))
WEBHOOKS = Depends(Needs("webhooks"))
CONTACTS = Depends(Needs("contacts"))
AUDIT = Depends(Needs("audit:read"))
ADMIN = Depends(Needs(ADMIN_SCOPE))
