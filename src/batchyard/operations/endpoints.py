"""Webhook endpoints of a team: made, changed, tried; and the secret that signs what they get."""

import secrets
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

from batchyard.errors import Conflict, InvalidRequest, NotFound, StoreError
from batchyard.lifecycle import STATUSES_BY_PHASE
from batchyard.models import Team
from batchyard.operations.transactions import Joined, Transactions
from batchyard.operations.webhooks import SECRET_BYTES, TRIED_FOR, signing_secrets, write_secret
from batchyard.store import endpoints, webhooks
from batchyard.store.db import Database
from batchyard.store.endpoints import Endpoint

FORMAT = "operator/1"
"""In whose words an endpoint of a team is told."""
TEST = "webhook.test"
MAX_ENDPOINTS = 50
MAX_URL_LENGTH = 2000
OLD_SECRET_KEPT = timedelta(hours=24)
"""After a rotation both secrets sign for so long."""

EVENTS = ("item.*", "batch.*", "batch.started", "batch.stopped", "batch.ended")
"""What may be asked for, beside each `item.<status>`."""
KNOWN = (*EVENTS, *(f"item.{one}" for one in sorted(set().union(*STATUSES_BY_PHASE.values()))))


async def create_endpoint(
    db: Transactions,
    *,
    team: Team,
    url: str,
    description: str | None = None,
    events: Sequence[str] | None = None,
) -> Endpoint:
    """Let an address listen to a team: to all, or to these types. Raises `InvalidRequest`."""
    _check(url, events)
    async with db.transaction() as conn:
        if await endpoints.count(conn, team_id=team.id) >= MAX_ENDPOINTS:
            raise Conflict(f"A team has at most {MAX_ENDPOINTS} endpoints.")
        made = await endpoints.insert(
            conn,
            team_id=team.id,
            url=url,
            format_=FORMAT,
            description=description,
            events=events,
            now=db.clock(),
        )
    if made is None:
        raise StoreError("The endpoint was written and is not there.")
    return made


async def list_endpoints(db: Database, *, team: Team) -> list[Endpoint]:
    """List the addresses that listen to a team."""
    async with db.pool.connection() as conn:
        return await endpoints.list_all(conn, team_id=team.id)


async def read_endpoint(db: Transactions, *, team: Team, endpoint_id: UUID) -> Endpoint:
    """Return an endpoint of the team. Raises `NotFound`."""
    async with db.transaction() as conn:
        found = await endpoints.list_all(conn, team_id=team.id, endpoint_id=endpoint_id)
    if not found:
        raise _missing()
    return found[0]


async def lock_endpoint(work: Joined, *, team: Team, endpoint_id: UUID) -> Endpoint:
    """Return an endpoint and let nobody else change it until `work` ends. Raises `NotFound`."""
    found = await endpoints.lock(work.connection, team_id=team.id, endpoint_id=endpoint_id)
    if found is None:
        raise _missing()
    return found


async def write_endpoint(
    db: Transactions,
    *,
    team: Team,
    endpoint_id: UUID,
    url: str,
    description: str | None,
    events: Sequence[str] | None,
    is_disabled: bool,
) -> Endpoint:
    """Change an endpoint; enabled again, it starts anew. Raises `NotFound`, `InvalidRequest`."""
    _check(url, events)
    async with db.transaction() as conn:
        changed = await endpoints.write(
            conn,
            team_id=team.id,
            endpoint_id=endpoint_id,
            url=url,
            description=description,
            events=events,
            is_disabled=is_disabled,
            now=db.clock(),
        )
    if changed is None:
        raise _missing()
    return changed


async def delete_endpoint(db: Transactions, *, team: Team, endpoint_id: UUID) -> None:
    """Let an address listen no more. Raises `NotFound`."""
    async with db.transaction() as conn:
        now = db.clock()
        if not await endpoints.remove(conn, team_id=team.id, endpoint_id=endpoint_id, now=now):
            raise _missing()


async def send_test(db: Transactions, *, team: Team, endpoint_id: UUID) -> UUID:
    """Tell an endpoint that this is a test; return the delivery. Raises `NotFound`, `Conflict`."""
    endpoint = await read_endpoint(db, team=team, endpoint_id=endpoint_id)
    async with db.transaction() as conn:
        delivery_id = await endpoints.add_test(
            conn,
            team_id=team.id,
            endpoint_id=endpoint.id,
            type_=TEST,
            window=TRIED_FOR,
            now=db.clock(),
        )
    if delivery_id is None:
        raise Conflict("The endpoint is disabled; enable it first.")
    return delivery_id


async def list_signing_secrets(db: Transactions, *, team: Team) -> list[str]:
    """Return what signs the team's webhooks, the newest first; two while one retires."""
    found = await signing_secrets(db, team_id=team.id)
    return [write_secret(secret) for secret in found]


async def rotate_secret(db: Transactions, *, team: Team) -> str:
    """Sign with a new secret too, a day later with nothing else; return it."""
    fresh = secrets.token_bytes(SECRET_BYTES)
    async with db.transaction() as conn:
        now = db.clock()
        await conn.execute(webhooks.LOCK_TEAM, {"team_id": team.id})
        await endpoints.rotate_secret(
            conn, team_id=team.id, fresh=fresh, retired_at=now + OLD_SECRET_KEPT, now=now
        )
    return write_secret(fresh)


def _check(url: str, events: Sequence[str] | None) -> None:
    faults: dict[str, list[str]] = {}
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname)
        is_address = is_address and (parts.port is None or parts.port > 0)
    except ValueError:
        is_address = False
    if not is_address or len(url) > MAX_URL_LENGTH or not url.isprintable() or " " in url:
        faults["url"] = ["must be an address such as https://example.com/hook"]
    if unknown := sorted(set(events or ()) - set(KNOWN)):
        faults["events"] = [f"There is no event {unknown[0]!r}. Known: {', '.join(KNOWN)}."]
    if events is not None and not events:
        faults["events"] = ["An endpoint wants at least one event; null is all."]
    if faults:
        raise InvalidRequest("The endpoint is not valid.", faults=faults)


def _missing() -> NotFound:
    return NotFound("There is no such endpoint.")
