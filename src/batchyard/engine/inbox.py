"""Takes callbacks of providers, in a process that need not be a worker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

import structlog

from batchyard import tasks
from batchyard.config import Config
from batchyard.engine.failpoints import Failpoint, Step
from batchyard.engine.inquiry import request_of
from batchyard.engine.journal import Journal
from batchyard.engine.reports import Reports
from batchyard.engine.switchboard import Switchboard, SwitchboardOpener, open_exchange
from batchyard.errors import Conflict, Forbidden, LimitReached, NotFound
from batchyard.models import Accepted, Answer, Ended, Kind, Phase, Progress, Request, Team, key_of
from batchyard.operations import items
from batchyard.providers import call_endings
from batchyard.providers.base import Callback, OtherEffect
from batchyard.signing import read_callback
from batchyard.store import inquiries, installation
from batchyard.store.db import Database
from batchyard.store.files import FileStore
from batchyard.store.inquiries import OpenQuestion

END_CHECK = timedelta(seconds=10)
"""When a call that was broken off is looked up, if nobody told of its end."""

UNSURE_PHASES = (Phase.READY, Phase.CLAIMED, Phase.CALLING)
"""What a callback saw as one of these may be waiting to be sent, under a key that was used."""

RESTART_SECONDS = 0.5

log = structlog.get_logger("batchyard.inbox")


@dataclass(frozen=True, kw_only=True, slots=True)
class Inbox:
    """Judges a callback and has it written before it is answered."""

    db: Database
    switchboard: Switchboard
    reports: Reports
    callback_key: bytes
    failpoint: Failpoint

    async def take(self, token: str, callback: Callback) -> bool:
        """Record what a callback tells; False when the item no longer needed it.

        Raises `NotFound` for a token not made here, `InvalidRequest` or `Forbidden` as the
        provider decides, `LimitReached` while the provider cannot be opened, or the news cannot be
        written.
        """
        named = read_callback(self.callback_key, token)
        if named is None:
            raise NotFound("There is no such callback address.")
        item_id, attempt = named
        async with self.db.pool.connection() as conn:
            question = await inquiries.read(conn, item_id=item_id)
        if question is None:
            raise NotFound("There is no such callback address.")
        line = self.switchboard.connected(question.provider_id)
        if line is None:
            raise LimitReached("The provider is not available now.", retry_after_seconds=10)
        request = _request(question, attempt)
        try:
            answer = await line.provider.read_callback(request, callback)
        except (Forbidden, OtherEffect) as error:
            is_forbidden = isinstance(error, Forbidden)
            log.warning(
                # Two effects of one key, where it is no mistake: a person should look.
                "callback.forbidden" if is_forbidden else "callback.of_other_effect",
                provider=line.provider.name,
                item=str(item_id),
                attempt=attempt,
                reason=error.message,
            )
            raise
        self.failpoint.reach(Step.IN_CALLBACK)
        is_news = await self.reports.deliver(request.key, answer, known=request.known_result)
        is_told = isinstance(answer, Accepted | Progress | Ended)
        is_unsure = attempt == question.attempt and question.phase in UNSURE_PHASES
        if not is_news and is_told and is_unsure:
            is_news = await self._believe_late(request, answer)
        if not is_news:
            log.info(
                "callback.ignored",
                item=str(item_id),
                attempt=attempt,
                is_ended=question.phase == Phase.DONE,
            )
        return is_news

    async def _believe_late(self, request: Request, answer: Answer) -> bool:
        """Record news of a key that is believed never to have arrived: it is not sent again."""
        if await self.reports.doubt(request.item_id, attempt=request.attempt):
            log.warning("callback.late", item=str(request.item_id), attempt=request.attempt)
        # Also where it does not wait any more: it may just have been sent.
        return await self.reports.deliver(request.key, answer, known=request.known_result)

    async def end(self, item_id: UUID, *, team: Team) -> None:
        """Break off what a live item of a team asks for: a call rings or speaks no more.

        Raises `NotFound`, `Conflict` when it is not live, was over before, or its provider cannot
        do that, `ProviderError` when nobody knows, `LimitReached` while the provider cannot be
        opened.
        """
        await items.check_live(self.db, team=team, item_id=item_id)
        async with self.db.pool.connection() as conn:
            question = await inquiries.read(conn, item_id=item_id)
        if question is None:
            raise NotFound("There is no such item.")
        line = self.switchboard.connected(question.provider_id)
        if line is None:
            raise LimitReached("The provider is not available now.", retry_after_seconds=10)
        if question.kind != Kind.CALL or not line.provider.ends_calls:
            raise Conflict(f"{line.provider.name} cannot break off a {question.kind}.")
        now = self.db.clock()
        request = request_of(question)
        if call_endings.known_of(request).is_over:
            raise Conflict("The call has ended; its price or recording is waited for.")
        # Noted first, so that whoever tells of the end knows that it was wanted.
        noted = call_endings.ask_for_end(request, now=now)
        mark = Accepted(status=question.status, check_at=now + END_CHECK, result=noted)
        await self.reports.deliver(request.key, mark, known=request.known_result)
        try:
            answer = await line.provider.end(replace(request, known_result=noted))
        except Conflict:
            # Certainly not broken off by this, so its end keeps its word.
            before = replace(mark, result=call_endings.take_back_end(request))
            await self.reports.deliver(request.key, before, known=noted)
            raise
        await self.reports.deliver(request.key, answer, known=noted)
        log.info("item.ended_by_hand", item=str(item_id), team=team.slug)


def _request(question: OpenQuestion, attempt: int) -> Request:
    """Build the request that a callback is about; what is known belongs to the latest one."""
    request = request_of(question)
    if attempt == question.attempt:
        return request
    return replace(
        request,
        key=key_of(question.id, attempt),
        attempt=attempt,
        reference=None,
        known_result=None,
    )


@asynccontextmanager
async def open_inbox(
    config: Config, db: Database, *, connect: SwitchboardOpener = open_exchange
) -> AsyncIterator[Inbox]:
    """Lend an inbox; while it is lent, its writers run, and are started again when they break."""
    failpoint = Failpoint(config.failpoint)
    grace = timedelta(seconds=config.unknown_grace_seconds)
    journal = Journal(db, unknown_grace=grace, failpoint=failpoint, files=FileStore(config))
    reports = Reports(db, journal)
    switchboard = await connect(config, db, report=reports.put)
    async with db.transaction() as conn:
        key = await installation.ensure_callback_key(conn)
    running = [
        asyncio.create_task(_keep_running(name, work), name=name)
        for name, work in (
            ("journal", journal.run),
            ("reports", reports.run),
            ("switchboard", switchboard.watch),
        )
    ]
    try:
        yield Inbox(
            db=db,
            switchboard=switchboard,
            reports=reports,
            callback_key=key,
            failpoint=failpoint,
        )
    finally:
        await tasks.end(*running)
        await switchboard.close()


async def _keep_running(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Start work again whenever it breaks: without it every callback would wait for ever."""
    while True:
        try:
            await work()
        except Exception:  # what it was at is lost, and whoever waited for that was told
            log.exception("inbox.broke", part=name)
        await asyncio.sleep(RESTART_SECONDS)
