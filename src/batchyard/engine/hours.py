"""Calling windows as a worker applies them: which sets of zones are open, and when others open."""

import asyncio
from collections.abc import Iterable
from datetime import date, datetime
from uuid import UUID

from batchyard.contact_rules import SENTENCES, Block, TeamRules
from batchyard.errors import InvalidRequest
from batchyard.models import Kind
from batchyard.store import contacts, runs, windows
from batchyard.store.db import Connection
from batchyard.store.runs import Run
from batchyard.store.windows import UNKNOWN_ZONES, ZoneSets
from batchyard.windows import Window, is_open, next_opening, read_guardrails

SLAB = 5000
"""Due items of one batch that one admission looks at, open and closed."""

KEPT_WINDOWS = 500


class Hours:
    """One window over every set of zones."""

    def __init__(self, window: Window, *, fallback: str | None, zone_sets: ZoneSets) -> None:
        self.rule = window, fallback
        """What makes it another one."""
        self._window = window
        self._fallback = (fallback,) if fallback is not None else ()
        self._zone_sets = zone_sets
        self._without_moment: set[int] = set()
        """Sets whose zones share no moment of the window; the fallback stands in for them."""
        self._learned_on: date | None = None
        self._minute: datetime | None = None
        self._open: frozenset[int] = frozenset()
        self._openings: dict[int, tuple[datetime, datetime]] = {}
        """When each set was asked for, and the answer: good for any moment between."""

    def open_sets(self, now: datetime) -> frozenset[int]:
        """Return the sets that may be called now, `UNKNOWN_ZONES` among them if it stands for any.

        Windows and clocks change at whole minutes only, so an answer holds for its minute.
        """
        self._forget_yesterday(now)
        minute = now.replace(second=0, microsecond=0)
        if minute != self._minute:
            zones = {zone for known in self._zone_sets.values() for zone in known}
            open_zones = {
                zone
                for zone in zones.union(self._fallback)
                if is_open(self._window, (zone,), minute)
            }
            self._open = frozenset(
                zone_set
                for zone_set in (UNKNOWN_ZONES, *self._zone_sets)
                if (zones_of := self.zones(zone_set)) and open_zones.issuperset(zones_of)
            )
            self._minute = minute
        return self._open

    def is_open(self, zone_set: int | None, now: datetime) -> bool:
        """Tell whether an item of this set may be sent now."""
        return (zone_set or UNKNOWN_ZONES) in self.open_sets(now)

    def opening(self, zone_set: int | None, now: datetime) -> datetime | None:
        """Return when an item of this set may be sent, `now` if it may already; None is never."""
        self._forget_yesterday(now)
        key = zone_set or UNKNOWN_ZONES
        kept = self._openings.get(key)
        if kept is not None and kept[0] <= now < kept[1]:
            return kept[1]
        opens_at = next_opening(self._window, self.zones(key), now)
        if opens_at is None and key not in self._without_moment:
            self._without_moment.add(key)
            self._minute = None
            opens_at = next_opening(self._window, self.zones(key), now)
        if opens_at is not None:
            self._openings[key] = now, opens_at
        return opens_at

    def openings(self, zone_sets: Iterable[int], now: datetime) -> dict[int, datetime | None]:
        """Return `opening` of each of these sets."""
        return {zone_set: self.opening(zone_set, now) for zone_set in zone_sets}

    def zones(self, zone_set: int) -> tuple[str, ...]:
        """Return the zones that count for a set; none when nothing is known of it."""
        if zone_set in self._without_moment:
            return self._fallback
        return self._zone_sets.get(zone_set) or self._fallback

    def _forget_yesterday(self, now: datetime) -> None:
        """Look for common moments anew each day: a clock change may bring or take one."""
        if self._learned_on != now.date():
            self._learned_on = now.date()
            self._without_moment.clear()
            self._openings.clear()


class HoursBook:
    """The windows and sets of zones that one worker has met."""

    def __init__(self) -> None:
        self._zone_sets: dict[int, tuple[str, ...]] = {}
        self._hours: dict[tuple[Window, str | None], Hours] = {}

    async def find(self, conn: Connection, run: Run, rules: TeamRules) -> Hours | None:
        """Return the window of a batch; None where it may call at any time.

        Raises `InvalidRequest` when its agent's guardrails make no sense.
        """
        window = window_of(run, rules)
        if window is None:
            return None
        key = (window, rules.fallback_zone)
        if key not in self._hours:
            if len(self._hours) >= KEPT_WINDOWS:
                self._hours.clear()
            await self.zone_sets(conn)
            self._hours[key] = Hours(
                window, fallback=rules.fallback_zone, zone_sets=self._zone_sets
            )
        return self._hours[key]

    async def zone_sets(self, conn: Connection) -> ZoneSets:
        """Return what each set of zones is, as far as it was needed until now."""
        if not self._zone_sets:
            await self._read_zone_sets(conn)
        return self._zone_sets

    async def put_off(self, conn: Connection, run: Run, hours: Hours, *, now: datetime) -> bool:
        """Move due items outside the window to its next opening; part of a transaction of its own.

        One slab of them; where there is no opening they end. Where the window has changed nothing
        is moved, and the next admission finds it. False when there was nothing to do.
        """
        closed = await windows.list_closed(
            conn, batch_id=run.id, open_sets=sorted(hours.open_sets(now)), slab=SLAB, now=now
        )
        if not closed:
            return False
        if not self._zone_sets.keys() >= set(closed) - {UNKNOWN_ZONES}:
            await self._read_zone_sets(conn)
        openings = await asyncio.to_thread(hours.openings, closed, now)
        late = {key: at for key, at in openings.items() if at is None or at > now}
        if await self._hold_rule(conn, run.id) != hours.rule:
            return True
        moved = await windows.reschedule(
            conn,
            batch_id=run.id,
            openings=late,
            code=Block.ZONE_UNKNOWN,
            message=SENTENCES[Block.ZONE_UNKNOWN],
            slab=SLAB,
            now=now,
        )
        return moved > 0 or len(late) < len(openings)

    async def _hold_rule(
        self, conn: Connection, batch_id: UUID
    ) -> tuple[Window, str | None] | None:
        """Return the window of a batch as it is, and stays until the transaction ends."""
        team_id = await windows.hold(conn, batch_id=batch_id)
        run = await runs.read(conn, batch_id=batch_id)
        if team_id is None or run is None:
            return None
        rules = await contacts.read_rules(conn, team_id=team_id)
        try:
            window = window_of(run, rules)
        except InvalidRequest:
            return None
        return None if window is None else (window, rules.fallback_zone)

    async def _read_zone_sets(self, conn: Connection) -> None:
        # An id never changes its meaning.
        self._zone_sets.update(await windows.list_zone_sets(conn))


def window_of(run: Run, rules: TeamRules) -> Window | None:
    """Put the agent's hours and the team's days together; None where nothing is forbidden."""
    if run.kind != Kind.CALL or run.bypass_windows:
        return None
    start_hour, end_hour = read_guardrails(run.guardrails) or (0, 24)
    window = Window(
        start_hour=start_hour, end_hour=end_hour, days=rules.days, holidays=rules.holidays
    )
    return None if window.is_always_open else window
