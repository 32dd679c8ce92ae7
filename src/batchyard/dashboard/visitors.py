"""Who looks at a page, what they may do, and whether a change was asked for by one of our pages."""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request
from fastapi.responses import Response

from batchyard.config import Config
from batchyard.dashboard.voice import Voice
from batchyard.errors import BatchyardError, Forbidden
from batchyard.language import negotiate
from batchyard.models import Team
from batchyard.operations import sessions
from batchyard.operations.access import ADMIN_SCOPE
from batchyard.operations.audit import Actor
from batchyard.store.db import Database
from batchyard.store.sessions import Session

PREFIX = "/ui"
COOKIE = "batchyard_session"
CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
FORM = "application/x-www-form-urlencoded"
PEER = "batchyard.peer"
"""Under this name a request's scope has whom its connection comes from, where a proxy's word has
replaced that in `client`."""
OWN_SITES = frozenset({"same-origin", "none"})
"""`none` is a person's own doing: an address typed, a bookmark."""


class NotSignedIn(BatchyardError):
    """Sign in to see this page."""


class StalePage(Forbidden):
    """This page is out of date; load it again, then repeat what you did."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visitor:
    """A person who is signed in, and what their pages are made from."""

    session: Session
    secret: str
    config: Config
    db: Database
    voice: Voice
    source: str | None
    """The address they come from."""

    @property
    def team(self) -> Team:
        """The only team whose things they see."""
        return self.session.team

    @property
    def actor(self) -> Actor:
        """Who the audit log names."""
        return Actor(name=sessions.actor_name(self.session), source=self.source)

    @property
    def csrf(self) -> str:
        """What their forms carry."""
        return sessions.csrf_token(self.secret)

    def may(self, scope: str) -> bool:
        """Tell whether they may do what this scope allows."""
        return bool({scope, ADMIN_SCOPE} & self.session.scopes)


def needs(scope: str | None) -> Callable[[Request], Awaitable[Visitor]]:
    """Return a dependency that lends the visitor where they have this scope; None asks for none.

    A change is refused unless one of this session's own pages asks for it.
    """

    async def recognise(request: Request) -> Visitor:
        found = await find_visitor(request)
        if found is None:
            raise NotSignedIn
        if request.method in CHANGING:
            await _check_csrf(request, found)
        if scope is not None and not found.may(scope):
            raise Forbidden(f"Your account lacks the scope {scope}.")
        return found

    recognise.__dict__["scope"] = scope
    return recognise


READ = Depends(needs("batches:read"))
WRITE = Depends(needs("batches:write"))
ANYBODY = Depends(needs(None))


async def find_visitor(request: Request) -> Visitor | None:
    """Return who is signed in, or None.

    Behind a trusted proxy, whoever it names is signed in; a session it began holds only while it
    names the same person.
    """
    config: Config = request.app.state.config
    db: Database = request.app.state.db
    secret = request.cookies.get(COOKIE)
    session = await sessions.find_session(db, secret=secret) if secret else None
    named = named_by_proxy(request)
    if session is not None and session.is_by_proxy and not _is_same(session.email, named):
        session = None
    if session is None and named:
        secret = await sessions.sign_in_through_proxy(db, email=named, address=address_of(request))
        session = await sessions.find_session(db, secret=secret) if secret else None
        # Answers set it, see `keep_new_session`.
        request.state.new_secret = secret
    if session is None or secret is None:
        return None
    language = negotiate(request.headers.get("accept-language"), team_locale=session.team.locale)
    return Visitor(
        session=session,
        secret=secret,
        config=config,
        db=db,
        voice=Voice(language, timezone=session.team.timezone, clock=db.clock),
        source=address_of(request),
    )


def named_by_proxy(request: Request) -> str:
    """Return whom a trusted proxy says to have signed in; nobody where it is another peer."""
    config: Config = request.app.state.config
    peer = request.scope.get(PEER, request.scope.get("client"))
    if config.trusted_proxy_header is None or not config.trusts_proxy(peer[0] if peer else None):
        return ""
    return request.headers.get(config.trusted_proxy_header, "").strip()


def address_of(request: Request) -> str | None:
    """Return the address a request comes from."""
    return request.client.host if request.client else None


def is_from_elsewhere(request: Request) -> bool:
    """Tell whether a page of another site sent this request; browsers say so."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in OWN_SITES
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")


def set_cookie(response: Response, config: Config, *, secret: str) -> None:
    """Hand a session's secret to the browser, out of reach of scripts and of other sites."""
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(sessions.LONGEST.total_seconds()),
        path=PREFIX,
        httponly=True,
        samesite="lax",
        secure=is_https(config),
    )


def is_https(config: Config) -> bool:
    """Tell whether people reach the dashboard encrypted."""
    return (config.public_url or "").startswith("https://")


def sign_in_path(request: Request) -> str:
    """Return where to sign in, and come back from."""
    path = request.url.path
    if request.method in CHANGING or path == f"{PREFIX}/":
        return f"{PREFIX}/sign-in"
    query = f"?{request.url.query}" if request.url.query else ""
    return f"{PREFIX}/sign-in?next={quote(path + query, safe='/')}"


async def _check_csrf(request: Request, visitor: Visitor) -> None:
    given = request.headers.get(CSRF_HEADER)
    if given is None and request.headers.get("content-type", "").startswith(FORM):
        field = (await request.form()).get(CSRF_FIELD)
        given = field if isinstance(field, str) else None
    if given is None or not hmac.compare_digest(given.encode(), visitor.csrf.encode()):
        raise StalePage


def _is_same(email: str | None, named: str) -> bool:
    return email is not None and email.lower() == named.lower()
