"""What must happen without being asked: a loop in every worker, done by one leader at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
import structlog

from batchyard import tasks
from batchyard.clock import monotonic
from batchyard.config import Config
from batchyard.encryption import Vault
from batchyard.engine.inquiry import Inquiry
from batchyard.operations import (
    contacts,
    control,
    deletions,
    imports,
    privacy,
    removals,
    retention,
    services,
    webhooks,
)
from batchyard.store import (
    events,
    leadership,
    number_claims,
    providers,
    queue,
    runs,
    tallies,
    workers,
)
from batchyard.store.db import TRANSIENT, Connection, Database
from batchyard.store.files import FileStore

TICK_SECONDS = 0.25
DEAD_AFTER = timedelta(seconds=10)
"""A worker silent for so long is dead."""

LOST_AFTER = timedelta(seconds=5)
"""So is one whose connection is gone, as that of a process that was killed, after so long."""

LISTEN_SECONDS = 3.0
"""So long whoever leads listens first: while PostgreSQL was away nobody could be heard. Who waited
for the lead has listened meanwhile; and of a worker whose connection alone is gone it is known."""

TURNS_STALL_AFTER = timedelta(seconds=30)
DISPATCHED_AT_ONCE = 100
"""Batches whose time has come, in one transaction: each tells who listens."""

WORKERS_KEPT = timedelta(days=1)
CORRECTED_WITHIN = timedelta(days=1)
"""So long after its end a batch is looked at again, should a crash have cut off its correction."""

log = structlog.get_logger("batchyard.housekeeping")


@dataclass(frozen=True, kw_only=True, slots=True)
class Duty:
    """One background duty and how often it is done."""

    name: str
    every_seconds: float
    do: Callable[[], Awaitable[None]]


class Housekeeping:
    """All duties of the leader."""

    def __init__(self, config: Config, db: Database, inquiry: Inquiry) -> None:
        self._config = config
        self._db = db
        self._inquiry = inquiry
        self._asking: asyncio.Task[None] | None = None
        self._beside: dict[str, asyncio.Task[None]] = {}
        self._begun_at: dict[str, float] = {}
        self._files = FileStore(config)
        key = config.secret_key
        self._vault = Vault(None if key is None else key.get_secret_value())
        self._hears_since = float("-inf")
        self.duties = (
            Duty(name="defer_turns", every_seconds=TICK_SECONDS, do=self.defer_turns),
            Duty(name="free_dead_workers", every_seconds=1, do=self.free_dead_workers),
            Duty(name="dispatch_scheduled", every_seconds=1, do=self.dispatch_scheduled),
            Duty(name="end_batches", every_seconds=1, do=self.end_batches),
            Duty(name="ask_overdue", every_seconds=TICK_SECONDS, do=self.ask_overdue),
            Duty(name="brake", every_seconds=1, do=self.brake),
            Duty(name="sweep", every_seconds=5, do=self.sweep),
        )
        # These may have much to work through; nothing else waits for that.
        self.long_duties = (
            Duty(name="end_stopped_items", every_seconds=1, do=self.end_stopped_items),
            Duty(name="remove_idle_imports", every_seconds=30, do=self.remove_idle_imports),
            Duty(name="purge_deleted", every_seconds=1, do=self.purge_deleted),
            Duty(name="tell_lapsed", every_seconds=5, do=self.tell_lapsed),
            Duty(name="forget_attempts", every_seconds=600, do=self.forget_attempts),
            Duty(name="refresh_services", every_seconds=60, do=self.refresh_services),
            Duty(name="forget_old", every_seconds=60, do=self.forget_old),
            Duty(name="erase_pending", every_seconds=5, do=self.erase_pending),
            Duty(name="expire", every_seconds=600, do=self.expire),
            Duty(name="remove_contents", every_seconds=5, do=self.remove_contents),
        )

    async def run(self) -> None:
        """Try to lead, and lead while the lock's connection lives; until cancelled."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._db.url, autocommit=True
                ) as connection:
                    await self._win(connection)
                    await self._lead(connection)
            except TRANSIENT as error:
                log.warning("housekeeping.interrupted", error=str(error))
            await asyncio.sleep(1)

    async def _win(self, connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        """Wait for the lead, and listen meanwhile."""
        heard_at = self._hears_since = monotonic()
        while True:
            leads = await leadership.try_to_lead(connection)
            if monotonic() - heard_at > LISTEN_SECONDS:
                self._hears_since = monotonic()  # This process or PostgreSQL stood still.
            heard_at = monotonic()
            if leads:
                return
            if await leadership.unseat_silent(connection, before=self._db.clock() - DEAD_AFTER):
                log.warning("housekeeping.unseated")
                continue
            await asyncio.sleep(1)

    async def _lead(self, connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        log.info("housekeeping.leads")
        self._begun_at.clear()
        try:
            while True:
                await connection.execute("SELECT 1")  # The lock is ours only while this answers.
                for duty in self.long_duties:
                    if self._is_due(duty):
                        self._begin(duty)
                for duty in self.duties:
                    if self._is_due(duty):
                        await self._do(duty)
                await asyncio.sleep(TICK_SECONDS)
        finally:
            for beside in self._beside.values():
                beside.cancel()
            # Whoever leads next asks; two at once would be one too many.
            try:
                if self._asking is not None:
                    await tasks.end(self._asking)
            finally:
                await self._inquiry.break_off()

    def _is_due(self, duty: Duty) -> bool:
        """Tell whether it is time for a duty; if so, it counts as begun."""
        begun_at = self._begun_at.get(duty.name)
        if begun_at is not None and monotonic() - begun_at < duty.every_seconds:
            return False
        self._begun_at[duty.name] = monotonic()
        return True

    async def _do(self, duty: Duty) -> None:
        try:
            await duty.do()
        except TRANSIENT as error:
            log.warning("housekeeping.duty_postponed", duty=duty.name, error=str(error))

    def _begin(self, duty: Duty) -> None:
        """Do a duty beside the others, unless it is still being done."""
        running = self._beside.get(duty.name)
        if running is None or running.done():
            self._beside[duty.name] = asyncio.create_task(self._do_beside(duty), name=duty.name)

    async def _do_beside(self, duty: Duty) -> None:
        try:
            await self._do(duty)
        except Exception:  # nobody waits for it, so nobody else would tell
            log.exception("housekeeping.duty_broke", duty=duty.name)

    async def defer_turns(self) -> None:
        """Queue a turn for every team whose time has come; nothing stays lost."""
        async with self._db.transaction() as conn:
            await queue.defer_due_turns(conn, now=self._db.clock())

    async def free_dead_workers(self) -> None:
        """Give up silent workers and free what ended ones still hold."""
        now = self._db.clock()
        heard_for = monotonic() - self._hears_since
        async with self._db.transaction() as conn:
            dead = await workers.end_silent(
                conn,
                before=now - DEAD_AFTER if heard_for >= LISTEN_SECONDS else None,
                lost_before=now - LOST_AFTER,
                # While PostgreSQL was away every connection went; each comes back with its next
                # beat.
                is_steady=heard_for >= LOST_AFTER.total_seconds(),
                now=now,
            )
        if dead:
            log.warning("worker.died", workers=dead)
        async with self._db.transaction() as conn:
            for team_id in await workers.take_back(conn, now=now):
                await queue.wake(conn, team_id=team_id, now=now)

    async def dispatch_scheduled(self) -> None:
        """Queue batches whose time has come, also where thousands came while nothing ran."""
        now = self._db.clock()
        while True:
            async with self._db.transaction() as conn:
                teams = await runs.dispatch_scheduled(conn, limit=DISPATCHED_AT_ONCE, now=now)
                for team_id in sorted(set(teams)):
                    await queue.wake(conn, team_id=team_id, now=now)
            if len(teams) < DISPATCHED_AT_ONCE:
                return

    async def end_batches(self) -> None:
        """End batches whose last item ended just before a crash, or is unknown for too long."""
        now = self._db.clock()
        grace = timedelta(seconds=self._config.unknown_grace_seconds)
        async with self._db.transaction() as conn:
            await runs.finish(conn, batch_ids=None, unknown_before=now - grace, now=now)

    async def end_stopped_items(self) -> None:
        """End what stopped and cancelled batches have not sent."""
        await control.end_stopped_items(self._db)

    async def ask_overdue(self) -> None:
        """Begin to ask for missing answers, beside the other duties."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all(), name="inquiry")

    async def brake(self) -> None:
        """Pause batches and providers that mostly fail, before they do more harm."""
        if self._config.brake_share >= 1:
            return
        now = self._db.clock()
        since = now - timedelta(seconds=self._config.brake_seconds)
        async with self._db.transaction() as conn:
            await self._brake_batches(conn, since=since, now=now)
            names = await self._brake_providers(conn, since=since, now=now)
        for name in names:
            log.warning("provider.braked", provider=name)

    async def _brake_batches(self, conn: Connection, *, since: datetime, now: datetime) -> None:
        for braked in await tallies.brake_batches(
            conn,
            since=since,
            attempts=self._config.brake_attempts,
            share=self._config.brake_share,
            now=now,
        ):
            await events.write(
                conn,
                team_id=braked.team_id,
                batch_id=braked.batch_id,
                type_="batch.braked",
                data={"attempts": braked.attempts, "failed": braked.failed},
                now=now,
            )

    async def _brake_providers(
        self, conn: Connection, *, since: datetime, now: datetime
    ) -> list[str]:
        """Return the names of those paused; all teams whose items go there are told."""
        stopped = await tallies.brake_providers(
            conn,
            since=since,
            attempts=self._config.brake_attempts,
            share=self._config.brake_share,
            now=now,
        )
        for one in stopped:
            told = {"provider": one.name, "attempts": one.attempts, "failed": one.failed}
            for team_id in await providers.list_routed_teams(conn, provider_id=one.provider_id):
                await events.write(
                    conn, team_id=team_id, type_="provider.braked", data=told, now=now
                )
        return [one.name for one in stopped]

    async def sweep(self) -> None:
        """Mend what a crash or an earlier version left: sleeping teams, turns without a worker."""
        now = self._db.clock()
        async with self._db.transaction() as conn:
            stalled = await queue.end_stalled_turns(conn, before=now - TURNS_STALL_AFTER)
            for team_id in sorted(set(stalled)):
                await queue.wake(conn, team_id=team_id, now=now)
        async with self._db.transaction() as conn:
            await runs.correct_failed(conn, since=now - CORRECTED_WITHIN, now=now)
            await runs.reopen_stranded(conn, since=now - CORRECTED_WITHIN, now=now)
            await runs.start_stranded(conn, now=now)
            await queue.sweep_sleepers(conn, now=now)
            await number_claims.release_stale(conn)
            await workers.forget(conn, before=now - WORKERS_KEPT)
            await tallies.forget(conn, now=now)

    async def remove_idle_imports(self) -> None:
        """Remove uploads that fell silent."""
        await imports.remove_idle(
            self._db, now=self._db.clock(), idle_seconds=self._config.import_idle_seconds
        )

    async def purge_deleted(self) -> None:
        """Delete the rows of deleted batches."""
        grace = timedelta(seconds=self._config.unknown_grace_seconds)
        await deletions.purge_deleted(self._db, unknown_grace=grace)

    async def tell_lapsed(self) -> None:
        """Tell which outcomes have been unknown for so long that clients see an error."""
        grace = timedelta(seconds=self._config.unknown_grace_seconds)
        await webhooks.tell_lapsed(self._db, unknown_grace=grace)

    async def forget_attempts(self) -> None:
        """Forget attempts that no team's limit counts any more."""
        await contacts.forget_attempts(self._db)

    async def refresh_services(self) -> None:
        """Ask providers from time to time what they book."""
        await services.refresh_stale(self._db, self._vault)

    async def forget_old(self) -> None:
        """Forget the log of webhooks after a month."""
        await webhooks.forget_old(self._db)

    async def erase_pending(self) -> None:
        """Erase what was in flight when its person was erased, and has ended."""
        await privacy.erase_pending(self._db)

    async def expire(self) -> None:
        """Take out what is kept for too long."""
        await retention.expire(self._db)

    async def remove_contents(self) -> None:
        """Remove contents outside the database whose documents are gone."""
        await removals.remove_contents(self._db, self._files)

    async def _ask_all(self) -> None:
        try:
            while await self._inquiry.ask_overdue():
                await self._inquiry.room(within_seconds=TICK_SECONDS)
        except TRANSIENT as error:
            log.warning("housekeeping.duty_postponed", duty="ask_overdue", error=str(error))
