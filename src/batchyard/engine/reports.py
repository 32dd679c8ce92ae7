"""News that providers bring by themselves: callbacks, and timers of the sandbox."""

import asyncio
from dataclasses import dataclass, replace
from uuid import UUID

import structlog

from batchyard import lifecycle, retry
from batchyard.engine.journal import Journal, told_if_unwritten
from batchyard.engine.news import News
from batchyard.engine.outcome import Sent, news_of
from batchyard.models import (
    Accepted,
    Answer,
    Ended,
    JsonObject,
    Kind,
    Phase,
    Policy,
    Progress,
    key_of,
)
from batchyard.store import inquiries
from batchyard.store.db import TRANSIENT, Database
from batchyard.store.items import Settlement

log = structlog.get_logger("batchyard.reports")


class Reports:
    """Gathers news by key, reads what is needed to judge it, and hands it to the journal."""

    def __init__(self, db: Database, journal: Journal) -> None:
        self._db = db
        self._journal = journal
        self._waiting: list[_Told] = []
        self._has_news = asyncio.Event()

    def put(self, key: str, answer: Answer) -> None:
        """Take news without waiting; lost in a crash it costs only time, for it is asked again."""
        self._take(_told(key, answer))

    async def deliver(self, key: str, answer: Answer, *, known: JsonObject | None) -> bool:
        """Take news and wait until it is committed; False when it no longer fitted the item.

        `known` is the stored result that the news goes on from. Raises `LimitReached` when it
        cannot be written now.
        """
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._take(_told(key, answer, known=known or {}, written=written))
        return await written

    async def doubt(self, item_id: UUID, *, attempt: int) -> bool:
        """Keep a waiting item from being sent whose key turns out to have been used.

        It becomes unknown, and the news that shows this decides it; False where it does not wait
        to be sent under this key. Raises `LimitReached` when it cannot be written now.
        """
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        settlement = Settlement(
            id=item_id,
            attempt=attempt,
            phase=Phase.UNKNOWN,
            status=lifecycle.UNKNOWN_STATUS,
            next_attempt=attempt,
            from_phases=(Phase.READY, Phase.CLAIMED),
            error_code="arrived_after_all",
            error_message="It was believed never to have arrived, and then news of it came.",
        )
        self._journal.write(News(settlement=settlement, written=written))
        return await written

    def _take(self, told: "_Told") -> None:
        self._waiting.append(told)
        self._has_news.set()

    async def run(self) -> None:
        """Judge what has gathered, until cancelled."""
        while True:
            await self._has_news.wait()
            await asyncio.sleep(0.002)
            block, self._waiting = self._waiting, []
            self._has_news.clear()
            with told_if_unwritten(told.written for told in block):
                await self._judge_persistently(block)

    async def _judge_persistently(self, block: "list[_Told]") -> None:
        while True:
            try:
                await self._judge(block)
                break
            except TRANSIENT as error:
                log.warning("reports.repeated", error=str(error))
                await asyncio.sleep(0.5)

    async def _judge(self, block: "list[_Told]") -> None:
        async with self._db.pool.connection() as conn:
            contexts = await inquiries.read_contexts(conn, list({told.item_id for told in block}))
        now = self._db.clock()
        for told in block:
            item_id, attempt, answer = told.item_id, told.attempt, told.answer
            context = contexts.get(item_id)
            if context is None or not isinstance(answer, Ended | Accepted | Progress):
                if told.written is not None and not told.written.done():
                    told.written.set_result(False)
                continue
            key = key_of(item_id, attempt)
            change = lifecycle.change_for_answer(
                answer,
                kind=Kind(context.kind),
                attempt=attempt,
                key=key,
                retry_policy=retry.from_json(context.retry_policy),
                provider_policy=Policy.ASKABLE,
                undecided_until=now,
                now=now,
            )
            sent = Sent(
                id=item_id,
                attempt=attempt,
                key=key,
                provider=None,
                sent_at=context.intent_at,
            )
            news = news_of(sent, answer, change, lease=None, known=told.known, now=now)
            self._journal.write(replace(news, written=told.written))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Told:
    """News of one key, on its way to be judged."""

    item_id: UUID
    attempt: int
    answer: Answer
    known: JsonObject | None
    written: asyncio.Future[bool] | None


def _told(
    key: str,
    answer: Answer,
    *,
    known: JsonObject | None = None,
    written: asyncio.Future[bool] | None = None,
) -> _Told:
    item, _, attempt = key.rpartition(".")
    return _Told(
        item_id=UUID(item), attempt=int(attempt), answer=answer, known=known, written=written
    )
