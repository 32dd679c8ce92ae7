"""Follow what happens: events in the order they became true, and counts while they change."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from uuid import UUID

import structlog

from batchyard import tasks
from batchyard.clock import monotonic
from batchyard.errors import InvalidRequest
from batchyard.models import Principal, Team
from batchyard.store import live
from batchyard.store.db import TRANSIENT, Connection, Database
from batchyard.store.live import Counts, Event, Position

POLL_SECONDS = 0.5
"""Counts are told at most so often. Events are looked for as often too: one of a transaction that
ended while an older one still ran shows only when that ends, and nobody notifies of that."""
HEARTBEAT_SECONDS = 15.0
BLOCK = 500
WATCHED_SECONDS = 60.0
"""A batch that sends nothing is watched for so long after its last change, and for as long as
something of it is under way: a call of a paused one may still end."""

Permit = Callable[[Connection], Awaitable[bool]]
"""Tells whether whoever follows still may; asked again and again."""

log = structlog.get_logger("batchyard.live")


class Hub:
    """Listens on one connection for all followers of this process, while there are any."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._followers: set[asyncio.Event] = set()
        self._listening: asyncio.Task[None] | None = None

    @contextmanager
    def follower(self) -> Iterator[asyncio.Event]:
        """Lend what is set whenever there may be news."""
        woken = asyncio.Event()
        self._followers.add(woken)
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="live events")
        try:
            yield woken
        finally:
            self._followers.discard(woken)
            if not self._followers and self._listening is not None:
                self._listening.cancel()
                self._listening = None

    async def _listen(self) -> None:
        while True:
            try:
                async for _ in live.listen(self._db.url):
                    for woken in self._followers:
                        woken.set()
            except TRANSIENT as error:
                # Followers look by themselves meanwhile.
                log.warning("live.interrupted", error=str(error))
            await asyncio.sleep(1)


def write_position(position: Position) -> str:
    """Write a position as the id of an event."""
    return f"{position[0]}-{position[1]}"


def read_position(text: str | None) -> Position | None:
    """Read the id of an event; raise `InvalidRequest` for one not made here."""
    if text is None:
        return None
    xid, _, number = text.partition("-")
    if not (xid.isdecimal() and number.isdecimal() and max(len(xid), len(number)) <= 18):
        raise InvalidRequest("This is no id of an event.", faults={"Last-Event-ID": ["not ours"]})
    return int(xid), int(number)


async def read_events(
    db: Database, *, team: Team, batch_id: UUID | None, after: Position | None, limit: int
) -> Sequence[Event]:
    """Read events after a position, or from the first that is kept."""
    async with db.pool.connection() as conn:
        position = await live.find_position(conn, after or (0, 0))
        return await live.read_events(
            conn, team_id=team.id, batch_id=batch_id, after=position, limit=limit
        )


def while_token_works(db: Database, principal: Principal) -> Permit:
    """Allow following as long as the token is neither revoked nor expired."""

    async def is_in_use(conn: Connection) -> bool:
        return await live.is_token_in_use(conn, token_id=principal.token_id, now=db.clock())

    return is_in_use


async def follow(
    db: Database,
    hub: Hub,
    *,
    team: Team,
    permit: Permit,
    batch_id: UUID | None = None,
    after: Position | None = None,
) -> AsyncIterator[Event | Counts | Position | None]:
    """Yield events after a position and counts as they change; None when all has been quiet.

    First comes the position itself: who loses the connection before any event begins there again.
    Ends when the permit ends, or when the database is away: who reads on begins again where it was.
    """
    watch = _Watch(team=team, batch_id=batch_id)
    with hub.follower() as woken, suppress(*TRANSIENT):
        async with db.pool.connection() as conn:
            position = await live.find_position(conn, after)
        yield position
        told_at = monotonic()
        while True:
            woken.clear()
            async with db.pool.connection() as conn:
                if not await permit(conn):
                    return
                events = await live.read_events(
                    conn,
                    team_id=team.id,
                    batch_id=batch_id,
                    after=position,
                    limit=BLOCK,
                )
            for event in events:
                yield event
                position = event.position
            counts = await watch.look(db)
            for one in counts:
                yield one
            if events or counts:
                told_at = monotonic()
            elif monotonic() - told_at >= HEARTBEAT_SECONDS:
                yield None
                told_at = monotonic()
            if len(events) < BLOCK:
                async with tasks.at_most(watch.pause_seconds()):
                    await woken.wait()


class _Watch:
    """Sees how the counts of batches change."""

    def __init__(self, *, team: Team, batch_id: UUID | None) -> None:
        self._team = team
        self._only = batch_id
        self._known: dict[UUID, Counts] = {}
        self._changed_at: dict[UUID, float] = {}
        self._looked_at = float("-inf")

    def pause_seconds(self) -> float:
        """Return how long it is until the next look may be taken."""
        return max(0.0, self._looked_at + POLL_SECONDS - monotonic())

    async def look(self, db: Database) -> Sequence[Counts]:
        """Return what has changed since the last look; nothing when that is a moment ago."""
        now = monotonic()
        if now - self._looked_at < POLL_SECONDS:
            return ()
        async with db.pool.connection() as conn:
            found = await live.read_counts(
                conn,
                team_id=self._team.id,
                batch_ids=await self._choose(conn),
                with_active=self._only is None,
            )
        changed = [one for one in found if one != self._known.get(one.batch_id)]
        told_at = {**self._changed_at, **{one.batch_id: now for one in changed}}
        watched = [one for one in found if self._is_watched(one, told_at[one.batch_id], now)]
        self._known = {one.batch_id: one for one in watched}
        self._changed_at = {one.batch_id: told_at[one.batch_id] for one in watched}
        self._looked_at = now
        return changed

    async def _choose(self, conn: Connection) -> Sequence[UUID]:
        """Return the batches to look at besides those that run."""
        if self._only is not None:
            return [self._only]
        if self._looked_at < 0:
            return await live.list_moving(conn, team_id=self._team.id)
        return [*self._known]

    def _is_watched(self, one: Counts, told_at: float, now: float) -> bool:
        """Tell whether more may be expected of a batch."""
        return self._only is not None or one.moving > 0 or now - told_at <= WATCHED_SECONDS
