"""What a worker knows of pauses and stops, and for how long that is good."""

import asyncio
from collections import Counter
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


class Halts:
    """Looks at the batches and providers of the items that a worker holds."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._held: Counter[Place] = Counter()
        self._halted: frozenset[Place] = frozenset()
        self._seen_at: dict[Place, float] = {}
        self._looking: asyncio.Task[None] | None = None
        """The look that others wait for."""

    def add(self, place: Place) -> None:
        """Look at this place while an item of it is held."""
        self._held[place] += 1

    def remove(self, place: Place) -> None:
        """Take back one `add`."""
        self._held[place] -= 1
        if self._held[place] <= 0:
            del self._held[place]

    def allows(self, place: Place, *, known_at: float) -> bool:
        """Tell whether an item may be sent, by what was seen here or, at `known_at`, elsewhere.

        The newer of the two counts: admission may know that a pause is over.
        """
        seen_at = self._seen_at.get(place, known_at)
        is_halted = place in self._halted and seen_at >= known_at
        return not is_halted and monotonic() - max(known_at, seen_at) <= KNOWN_SECONDS

    async def renew(self, place: Place, *, known_at: float) -> None:
        """Look again if what is known of a place is old; all that wait share a look.

        One that was under way may not know the place yet.
        """
        for _ in range(2):
            seen_at = max(known_at, self._seen_at.get(place, known_at))
            if monotonic() - seen_at <= KNOWN_SECONDS:
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
        places = list(self._held)
        if not places:
            self._halted, self._seen_at = frozenset(), {}
            return
        async with self._db.pool.connection() as conn:
            began = monotonic()
            halted = await runs.list_halted(conn, batch_ids={batch_id for batch_id, _ in places})
            closed = await providers.list_closed(
                conn, {provider_id for _, provider_id in places}, now=self._db.clock()
            )
        self._halted = frozenset(
            place for place in places if place[0] in halted or place[1] in closed
        )
        self._seen_at = dict.fromkeys(places, began)
