"""Webhooks of a team: its secret, the log of deliveries, sending again."""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from batchyard.errors import NotFound
from batchyard.models import Team
from batchyard.operations.transactions import Transactions
from batchyard.store import deliveries, lapsed, webhooks
from batchyard.store.db import Database
from batchyard.store.webhooks import Attempt, LogEntry

SECRET_BYTES = 32
SECRET_PREFIX = "whsec_"  # noqa: S105  # how Standard Webhooks writes every secret
TRIED_FOR = timedelta(hours=24)
EXPIRED_AFTER = timedelta(hours=6)
"""Beyond its day, how long something waits for an endpoint that pauses; longer than the longest
pause between two tries, after which the last one is made."""
LAPSED_WITHIN = timedelta(hours=1)
"""So long after its grace time an unknown outcome is still news."""
LOG_KEPT = timedelta(days=30)
BLOCK = 1000


def write_secret(secret: bytes) -> str:
    """Write a secret as receivers configure it."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


async def team_secret(db: Database, *, team: Team) -> str:
    """Return what the team's webhooks are signed with, made when first asked for."""
    (secret, *_) = await signing_secrets(db, team_id=team.id)
    return write_secret(secret)


async def signing_secrets(db: Transactions, *, team_id: int) -> Sequence[bytes]:
    """Return every secret that signs the team's webhooks, the newest first."""
    async with db.transaction() as conn:
        known = await webhooks.list_secrets(conn, team_id=team_id, now=db.clock())
    if known:
        return known
    async with db.transaction() as conn:
        return await webhooks.ensure_secrets(
            conn, team_id=team_id, fresh=secrets.token_bytes(SECRET_BYTES), now=db.clock()
        )


async def list_deliveries(
    db: Database,
    *,
    team: Team,
    state: str | None = None,
    batch_id: UUID | None = None,
    endpoint_id: UUID | None = None,
    after: tuple[datetime, int, UUID] | None = None,
    limit: int = 100,
) -> Sequence[LogEntry]:
    """List what was told to the team's addresses and what waits, the newest first.

    `after` is when the last one seen was made, its number and its id.
    """
    async with db.pool.connection() as conn:
        return await webhooks.list_log(
            conn,
            team_id=team.id,
            state=state,
            batch_id=batch_id,
            endpoint_id=endpoint_id,
            after=after,
            limit=limit,
        )


async def list_attempts(db: Database, *, team: Team, delivery_id: UUID) -> Sequence[Attempt]:
    """List every try of one delivery."""
    async with db.pool.connection() as conn:
        return await webhooks.list_attempts(conn, team_id=team.id, delivery_id=delivery_id)


async def read_state(db: Transactions, *, team: Team, delivery_id: UUID) -> str | None:
    """Return what became of a delivery; None where the team has none such."""
    async with db.transaction() as conn:
        return await webhooks.read_state(conn, team_id=team.id, delivery_id=delivery_id)


async def redeliver(db: Transactions, *, team: Team, delivery_id: UUID) -> None:
    """Send a delivery once more, under its old id and number. Raises `NotFound`."""
    async with db.transaction() as conn:
        sent = await webhooks.redeliver(
            conn,
            team_id=team.id,
            delivery_ids=[delivery_id],
            window=TRIED_FOR,
            now=db.clock(),
        )
    if not sent:
        raise NotFound(
            "The team has no such delivery, nobody listens any more, or what it said is kept no "
            "longer."
        )


async def redeliver_failed(db: Transactions, *, team: Team) -> int:
    """Send everything once more that was given up; return how much."""
    async with db.transaction() as conn:
        return await webhooks.redeliver(
            conn, team_id=team.id, delivery_ids=None, window=TRIED_FOR, now=db.clock()
        )


async def tell_lapsed(db: Database, *, unknown_grace: timedelta) -> None:
    """Tell agents' addresses which outcomes have been unknown for the grace time, in slices.

    What passed it long ago, while nobody led or before anybody listened, is told no more.
    """
    while True:
        async with db.transaction() as conn:
            now = db.clock()
            told = await lapsed.tell(
                conn,
                since=now - unknown_grace - LAPSED_WITHIN,
                unknown_before=now - unknown_grace,
                window=TRIED_FOR,
                limit=BLOCK,
                now=now,
            )
        if told < BLOCK:
            return


async def forget_old(db: Database) -> None:
    """Give up what waited for too long, and forget what was told a month ago and has ended."""
    while True:
        async with db.transaction() as conn:
            now = db.clock()
            expired = await deliveries.expire(
                conn, before=now - EXPIRED_AFTER, limit=BLOCK, now=now
            )
            forgotten = await deliveries.forget(conn, before=now - LOG_KEPT, limit=BLOCK)
        if max(expired, forgotten) < BLOCK:
            return
