"""What a worker knows of pauses and stops, and for how long that is good."""

import asyncio
import math
from uuid import UUID

import structlog

from batchyard.clock import monotonic
from batchyard.store import providers, runs
from batchyard.store.db import TRANSIENT, Database

LOOK_SECONDS = 0.25
"""How often a worker looks."""

KNOWN_SECONDS = 0.75
"""So long what was seen is good; then nothing is sent before a newer look. A pause holds within a
second, also while the database is slow to answer."""

Place = tuple[UUID, int]
"""Where an item comes from and goes to: its batch, and its provider."""

log = structlog.get_logger("batchyard.halts")


class Watch:
    """What is known of one place, shared by all items that are held of it.

    `known_at` is when something else, admission, saw that nothing is halted there, by `monotonic`.
    """

    __slots__ = ("_is_halted", "_seen_at", "held")

    def __init__(self) -> None:
        self.held = 0
        """Items of this place that the worker holds."""
        self._is_halted = False
        self._seen_at = -math.inf

    def see(self, *, is_halted: bool, at: float) -> None:
        """Keep what a look saw that began at this time."""
        self._is_halted, self._seen_at = is_halted, at

    def is_old(self, *, known_at: float) -> bool:
        """Tell whether what is known is too old to send by."""
        return monotonic() - max(known_at, self._seen_at) > KNOWN_SECONDS

    def allows(self, *, known_at: float) -> bool:
        """Tell whether an item may be sent, by the newer of what was seen here and there.

        Admission may know that a pause is over.
        """
        is_halted = self._is_halted and self._seen_at >= known_at
        return not is_halted and not self.is_old(known_at=known_at)


class Halts:
    """Looks at the batches and providers of the items that a worker holds."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._watches: dict[Place, Watch] = {}
        self._looking: asyncio.Task[None] | None = None
        """The look that others wait for."""

    def hold(self, place: Place, items: int) -> Watch:
        """Look at this place while so many more items of it are held: until `held` is 0 again."""
        watch = self._watches.get(place)
        if watch is None:
            watch = self._watches[place] = Watch()
        watch.held += items
        return watch

    async def renew(self, watch: Watch, *, known_at: float) -> None:
        """Look again if what is known of a place is old; all that wait share a look.

        One that was under way may not know the place yet.
        """
        for _ in range(2):
            if not watch.is_old(known_at=known_at):
                return
            if self._looking is None:
                self._looking = asyncio.create_task(self._try_to_look(), name="look at halts")
            await asyncio.shield(self._looking)

    async def watch(self) -> None:
        """Look from time to time, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._try_to_look()

    async def _try_to_look(self) -> None:
        try:
            await self.look()
        except TRANSIENT as error:
            log.warning("halts.unread", error=str(error))
        finally:
            if self._looking is asyncio.current_task():
                self._looking = None

    async def look(self) -> None:
        """Learn of pauses and stops by now."""
        self._watches = {place: watch for place, watch in self._watches.items() if watch.held > 0}
        watches = self._watches.copy()
        if not watches:
            return
        async with self._db.pool.connection() as conn:
            began = monotonic()
            halted = await runs.list_halted(conn, batch_ids={batch_id for batch_id, _ in watches})
            closed = await providers.list_closed(
                conn, {provider_id for _, provider_id in watches}, now=self._db.clock()
            )
        for (batch_id, provider_id), watch in watches.items():
            watch.see(is_halted=batch_id in halted or provider_id in closed, at=began)
