"""Writes intents and outcomes of many items together: what gathers in a few milliseconds."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import TypeVar
from uuid import UUID

import orjson
import psycopg
import structlog

from batchyard.contact_rules import Block
from batchyard.engine.counting import Aftermath
from batchyard.engine.failpoints import Failpoint, Step
from batchyard.engine.filing import Filing
from batchyard.engine.merging import join_result
from batchyard.engine.news import News, Stop
from batchyard.engine.screening import screen
from batchyard.errors import LimitReached
from batchyard.lifecycle import UNKNOWN_STATUS
from batchyard.metrics import JOURNAL_FLUSH_SIZE
from batchyard.models import Phase
from batchyard.store import (
    attempts,
    contacts,
    documents,
    items,
    number_claims,
    providers,
    queue,
    runs,
    tallies,
)
from batchyard.store.db import TRANSIENT, Connection, Database
from batchyard.store.files import FileStore
from batchyard.store.items import Intent, Settled, Settlement
from batchyard.store.number_claims import NumberHeld

GATHER_SECONDS = 0.002
"""How long a flush waits for company."""

FULL_AT = 2000
"""News in one flush; what is more waits for the next."""

CROWDED_AT = 10_000
"""With so much unwritten news a sender waits before it sends more."""

RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)

UNSTORABLE = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    orjson.JSONEncodeError,
)
"""What PostgreSQL says of an answer that does not fit: a text or number that it cannot hold, or a
word that its constraints do not know."""

T = TypeVar("T")

Obstacle = Block | NumberHeld
"""Why an item must not be sent, or not yet."""

log = structlog.get_logger("batchyard.journal")


class Journal:
    """One per process. `run` must be running for anything to be written."""

    def __init__(
        self,
        db: Database,
        *,
        unknown_grace: timedelta,
        worker_id: int | None = None,
        failpoint: Failpoint | None = None,
        files: FileStore | None = None,
    ) -> None:
        self._db = db
        self._filing = Filing(files)
        self._unfiled: set[asyncio.Task[None]] = set()
        self._being_filed: Counter[UUID] = Counter()
        """How much news of an item waits for its documents."""
        self._grace = unknown_grace
        self._failpoint = failpoint or Failpoint(None)
        self._worker_id = worker_id
        self.on_settled: Callable[[], None] = lambda: None
        """Called after each commit of outcomes; a worker's turns look again."""
        self._intents: dict[UUID, Intent] = {}
        self._intents_round: asyncio.Future[dict[UUID, Obstacle | None]] | None = None
        self._news: dict[UUID, News] = {}
        self._later: list[News] = []
        self._writing: Mapping[UUID, News] = {}
        self._aftermath: Aftermath | None = None
        """What is to be done about outcomes that are committed."""
        self._is_following_up = False
        self._has_intents = asyncio.Event()
        self._has_news = asyncio.Event()
        self._has_aftermath = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def intend(self, intents: Sequence[Intent]) -> Mapping[UUID, Obstacle | None]:
        """Commit intents, together with those of others.

        Returns the items whose claim and batch allowed it, and with their reasons those that must
        not be sent, of which nothing is written.
        """
        if self._intents_round is None:
            self._intents_round = asyncio.get_running_loop().create_future()
        self._intents.update((intent.id, intent) for intent in intents)
        self._has_intents.set()
        return await self._intents_round

    def write(self, news: News) -> None:
        """Take news; it is committed within milliseconds, in order per item.

        Where documents are kept outside the database, news with some waits until they are there.
        """
        self._is_idle.clear()
        if self._filing.concerns(news.documents):
            self._being_filed[news.item_id] += 1
            task = asyncio.get_running_loop().create_task(self._file_first(news))
            self._unfiled.add(task)
            task.add_done_callback(self._unfiled.discard)
        else:
            self._take(news)

    async def _file_first(self, news: News) -> None:
        with told_if_unwritten([news.written]):
            try:
                news.documents = await self._filing.file(news.documents)
            except Exception:  # what a plug-in calls a document may be none
                log.exception("outcome.unstorable", item=str(news.item_id))
                _drop_content(news)
        self._take(news)
        self._being_filed[news.item_id] -= 1
        if not self._being_filed[news.item_id]:
            del self._being_filed[news.item_id]

    def _take(self, news: News) -> None:
        if self._news.setdefault(news.settlement["id"], news) is not news:
            self._later.append(news)
        if len(self._news) + len(self._later) + len(self._unfiled) >= CROWDED_AT:
            self._has_room.clear()
        self._has_news.set()

    @property
    def is_crowded(self) -> bool:
        """Whether too much news is unwritten to send more."""
        return not self._has_room.is_set()

    @property
    def has_news(self) -> bool:
        """Whether something is not yet committed, or what follows from it not yet done."""
        return not self._is_idle.is_set()

    def has_news_of(self, item_id: UUID) -> bool:
        """Tell whether something about an item is still to be committed."""
        return item_id in self._news or item_id in self._writing or item_id in self._being_filed

    async def room(self) -> None:
        """Wait while too much news is unwritten."""
        await self._has_room.wait()

    async def idle(self) -> None:
        """Wait until all news taken so far is committed, and what follows from it done."""
        await self._is_idle.wait()

    def _note_idle(self) -> None:
        is_writing = bool(self._news or self._writing or self._unfiled)
        if not is_writing and self._aftermath is None and not self._is_following_up:
            self._is_idle.set()

    async def run(self) -> None:
        """Flush until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._run_intents(), name="journal intents")
                tasks.create_task(self._run_news(), name="journal news")
                tasks.create_task(self._run_aftermath(), name="journal aftermath")
        finally:
            for task in self._unfiled:
                task.cancel()

    async def _run_intents(self) -> None:
        while True:
            await self._has_intents.wait()
            await asyncio.sleep(GATHER_SECONDS)
            intents, waiting = list(self._intents.values()), self._intents_round
            self._intents, self._intents_round = {}, None
            self._has_intents.clear()
            JOURNAL_FLUSH_SIZE.labels(kind="intents").observe(len(intents))
            held = await self._persistently(partial(self._write_intents, intents))
            if waiting is not None and not waiting.done():
                waiting.set_result(held)

    async def _write_intents(self, intents: Sequence[Intent]) -> dict[UUID, Obstacle | None]:
        """Write what may be sent; return it, and with their reasons what must not be."""
        if self._worker_id is None:
            return {}
        if all(intent.contact is None and intent.claim is None for intent in intents):
            async with self._db.statement() as conn:
                now = self._db.clock()
                held = await items.intend(conn, intents, worker_id=self._worker_id, now=now)
            return dict.fromkeys(held)
        reached = [intent.contact for intent in intents if intent.contact is not None]
        async with self._db.transaction() as conn:
            now = self._db.clock()
            blocked = await screen(conn, reached, now=now) if reached else {}
            waiting = await self._claim_numbers(conn, intents, blocked, now=now)
            obstacles: dict[UUID, Obstacle] = {**blocked, **waiting}
            allowed = [intent for intent in intents if intent.id not in obstacles]
            held = await items.intend(conn, allowed, worker_id=self._worker_id, now=now)
            if lost := [i.id for i in allowed if i.claim is not None and i.id not in held]:
                await number_claims.release(conn, lost)
            counted = [c for c in reached if c.day_at is not None and c.item_id in held]
            await attempts.add(conn, counted, now=now)
        return {**dict.fromkeys(held), **obstacles}

    async def _claim_numbers(
        self,
        conn: Connection,
        intents: Sequence[Intent],
        blocked: Mapping[UUID, Block],
        *,
        now: datetime,
    ) -> dict[UUID, NumberHeld]:
        claims = [i.claim for i in intents if i.claim is not None and i.id not in blocked]
        return await number_claims.claim(conn, claims, now=now) if claims else {}

    async def _run_news(self) -> None:
        while True:
            await self._has_news.wait()
            if len(self._news) < FULL_AT:
                await asyncio.sleep(GATHER_SECONDS)
            self._writing = block = self._take_block()
            JOURNAL_FLUSH_SIZE.labels(kind="outcomes").observe(len(block))
            waiting = [news for news in block.values() if news.written is not None]
            with told_if_unwritten(news.written for news in waiting):
                settled = await self._persistently(partial(self._write_news, [*block.values()]))
            self._failpoint.reach(Step.AFTER_OUTCOME)
            self._writing = {}
            _tell(waiting, settled)
            self._add_to_aftermath(block, settled)
            self.on_settled()
            if not self._news:
                self._has_news.clear()
            self._note_idle()

    def _take_block(self) -> Mapping[UUID, News]:
        if len(self._news) <= FULL_AT:
            block, self._news = self._news, {}
        else:
            block = dict(islice(self._news.items(), FULL_AT))
            for item_id in block:
                del self._news[item_id]
        waiting, self._later = self._later, []
        for news in waiting:
            if self._news.setdefault(news.item_id, news) is not news:
                self._later.append(news)
        if len(self._news) + len(self._later) < CROWDED_AT:
            self._has_room.set()
        return block

    def _add_to_aftermath(self, block: Mapping[UUID, News], settled: Sequence[Settled]) -> None:
        if not settled:
            return
        if self._aftermath is None:
            self._aftermath = Aftermath()
        self._aftermath.add(block, settled, now=self._db.clock())
        self._has_aftermath.set()

    async def _run_aftermath(self) -> None:
        """End batches and wake teams: after the commit, so that every worker's part is seen.

        Beside the flushes, which go on meanwhile.
        """
        while True:
            await self._has_aftermath.wait()
            self._has_aftermath.clear()
            aftermath, self._aftermath = self._aftermath, None
            if aftermath is not None:
                self._is_following_up = True
                try:
                    await self._follow_up(aftermath)
                finally:
                    self._is_following_up = False
                self._note_idle()

    async def _write_news(self, block: Sequence[News]) -> list[Settled]:
        try:
            return await self._write_transaction(block)
        except UNSTORABLE:
            if len(block) > 1:
                middle = len(block) // 2
                first = await self._write_news(block[:middle])
                return first + await self._write_news(block[middle:])
            log.exception("outcome.unstorable", item=str(block[0].item_id))
            return await self._write_bare(block[0])

    async def _write_bare(self, news: News) -> list[Settled]:
        """Write news without its content; if not even that fits, the item is asked for later."""
        _drop_content(news)
        try:
            return await self._write_transaction([news])
        except UNSTORABLE:
            log.exception("outcome.lost", item=str(news.item_id))
            return []

    async def _write_transaction(self, block: Sequence[News]) -> list[Settled]:
        if all(_is_plain(news) for news in block):
            async with self._db.statement() as conn:
                return await items.settle(
                    conn, [news.settlement for news in block], now=self._db.clock()
                )
        files = [
            (news.item_id, news.settlement["attempt"], file)
            for news in block
            for file in news.documents
        ]
        async with self._db.transaction() as conn:
            now = self._db.clock()
            settlements = await self._join_results(conn, block)
            if files:
                await documents.add_to_open_attempts(conn, files, now=now)
            settled = await items.settle(conn, settlements, now=now)
            # Also where the news came too late for its item: a wish is a wish.
            if opt_outs := [news.item_id for news in block if news.is_opt_out]:
                await contacts.add_opt_outs(conn, item_ids=opt_outs, now=now)
            if again := {group.batch_id for group in settled if group.phase == Phase.READY}:
                await runs.reopen(conn, batch_ids=again, now=now)
            self._failpoint.reach(Step.IN_COUNTING)
            return settled

    async def _join_results(self, conn: Connection, block: Sequence[News]) -> list[Settlement]:
        """Return what is to be written, results joined with what was stored since they were made.

        That needs the rows' locks, which are taken of the whole block at once, for their order.
        """
        joined = [
            news.item_id for news in block if news.known is not None and "result" in news.settlement
        ]
        if not joined:
            return [news.settlement for news in block]
        await items.lock(conn, [news.item_id for news in block])
        stored = await items.read_results(conn, joined)
        return [
            join_result(news.settlement, known=news.known, stored=stored[news.item_id] or {})
            if news.known is not None and news.item_id in stored
            else news.settlement
            for news in block
        ]

    async def _follow_up(self, aftermath: Aftermath) -> None:
        """Do what follows; a crash before or a fault here is mended by housekeeping."""
        now = self._db.clock()
        try:
            # First what keeps others, and this worker itself, from sending in vain.
            for stop in aftermath.stops.values():
                await self._stop(stop, now=now)
            for provider_id, until in aftermath.slow.items():
                async with self._db.transaction() as conn:
                    await providers.slow_down(conn, provider_id=provider_id, until=until)
            if aftermath.ended:
                async with self._db.statement() as conn:
                    await runs.finish(
                        conn, batch_ids=aftermath.ended, unknown_before=now - self._grace, now=now
                    )
            async with self._db.transaction() as conn:
                if aftermath.outcomes:
                    await tallies.add(conn, aftermath.outcomes, now=now)
                if aftermath.failures:
                    await tallies.add_failures(conn, aftermath.failures, now=now)
                await queue.wake_after_settling(
                    conn,
                    sorted(aftermath.wakes.items()),
                    freed=aftermath.freed,
                    flushes=aftermath.flushes,
                    now=now,
                )
        except TRANSIENT as error:
            log.warning("journal.follow_up_postponed", error=str(error))
        except psycopg.Error:  # what follows is no reason to write nothing any more
            log.exception("journal.follow_up_broke")

    async def _stop(self, stop: Stop, *, now: datetime) -> None:
        async with self._db.transaction() as conn:
            is_new = await providers.stop(
                conn,
                provider_id=stop.provider_id,
                reason=stop.reason,
                sent_at=stop.sent_at,
                now=now,
            )
        if is_new:
            log.warning("provider.stopped", provider=stop.provider, reason=stop.reason)

    async def _persistently(self, write: Callable[[], Awaitable[T]]) -> T:
        """Repeat a whole flush while the database is away or chose it to break a deadlock."""
        failures = 0
        while True:
            try:
                return await write()
            except TRANSIENT as error:
                pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                failures += 1
                log.warning("journal.flush_repeated", error=str(error), failures=failures)
                await asyncio.sleep(pause)


def _is_plain(news: News) -> bool:
    """Tell whether its settlement is all that is to be written."""
    return (
        not news.documents
        and not news.is_opt_out
        and news.known is None
        and news.settlement["phase"] != Phase.READY
    )


def _tell(waiting: Sequence[News], settled: Sequence[Settled]) -> None:
    """Tell those who wait for it whether their news fitted."""
    fitted = {item_id for group in settled for item_id in group.ids} if waiting else set()
    for news in waiting:
        if news.written is not None and not news.written.done():
            news.written.set_result(news.item_id in fitted)


@contextmanager
def told_if_unwritten(waiting: Iterable["asyncio.Future[bool] | None"]) -> Iterator[None]:
    """Let nobody wait for what is not going to be written: it broke off."""
    try:
        yield
    except BaseException:
        for written in waiting:
            if written is not None and not written.done():
                written.set_exception(
                    LimitReached("It could not be written down now.", retry_after_seconds=10)
                )
        raise


def _drop_content(news: News) -> None:
    """Keep the fact, drop what PostgreSQL cannot store; nobody may take it for a success."""
    settlement = news.settlement.copy()
    settlement.pop("entry", None)
    settlement.pop("result", None)
    settlement.pop("reference", None)
    settlement.pop("held_until", None)
    settlement.pop("undecided_since", None)
    settlement["phase"] = Phase.UNKNOWN
    settlement["status"] = UNKNOWN_STATUS
    settlement["next_attempt"] = settlement["attempt"]
    settlement["error_code"] = "result_unstorable"
    settlement["error_message"] = "The provider's answer cannot be stored."
    news.settlement, news.documents, news.is_failure = settlement, (), True
