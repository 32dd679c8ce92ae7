"""A worker: everything that runs batches in one process, started and stopped together."""

import asyncio
import os
import platform
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import procrastinate
import structlog

from batchyard import tasks
from batchyard.config import Config
from batchyard.engine.admission import Admitter
from batchyard.engine.beat import Beat
from batchyard.engine.failpoints import Failpoint
from batchyard.engine.housekeeping import Housekeeping
from batchyard.engine.inquiry import Inquiry
from batchyard.engine.journal import Journal
from batchyard.engine.keeping import open_keep
from batchyard.engine.reports import Reports
from batchyard.engine.runner import Runner
from batchyard.engine.strays import Strays
from batchyard.engine.switchboard import SwitchboardOpener, open_exchange
from batchyard.engine.turn import Turns
from batchyard.store import queue, workers
from batchyard.store.db import TRANSIENT, Database
from batchyard.store.files import FileStore

TURNS_AT_ONCE = 8
"""Teams served at once share by weight, others wait for a turn. Each may hold a connection while it
admits, and a process has twice as many."""
TURNS_END_SECONDS = 0.5
"""How long turns may take to their next step, which may be an answer of the database."""
WRITING_SECONDS = 2.0
"""How long a process that stops waits for its last outcomes to be written."""
RESTART_SECONDS = 0.5

log = structlog.get_logger("batchyard.worker")


async def run_worker(
    config: Config,
    db: Database,
    *,
    stop: asyncio.Event,
    connect: SwitchboardOpener = open_exchange,
) -> None:
    """Work until `stop` is set, then finish what is out within `config.stop_seconds`.

    A worker that was taken for dead (paused, cut off) ends and begins anew under a new id.
    """
    while not stop.is_set():
        try:
            await _work(config, db, stop=stop, connect=connect)
        except TRANSIENT as error:
            log.warning("worker.restarts", error=str(error))
            async with tasks.at_most(RESTART_SECONDS):
                await stop.wait()


async def _work(
    config: Config, db: Database, *, stop: asyncio.Event, connect: SwitchboardOpener
) -> None:
    """One life of a worker.

    1. Register, start the beat.
    2. Start the journal, the runner, the housekeeping and the turns.
    3. Wait until stopped or given up.
    4. Admit nothing more; finish what is out; write the last outcomes; sign off. A journal that
       broke writes nothing: nobody waits for it, and what it leaves is found by the others.
    """
    async with db.transaction() as conn:
        worker_id = await workers.register(
            conn, host=platform.node(), pid=os.getpid(), now=db.clock()
        )
    failpoint = Failpoint(config.failpoint)
    grace = timedelta(seconds=config.unknown_grace_seconds)
    journal = Journal(
        db,
        unknown_grace=grace,
        worker_id=worker_id,
        failpoint=failpoint,
        files=FileStore(config),
    )
    reports = Reports(db, journal)
    runner = Runner(db, journal, slots=config.worker_slots, failpoint=failpoint)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def give_up() -> None:
        runner.is_fenced = True
        loop.call_soon_threadsafe(ended.set)

    # Before providers are opened, which may take long.
    beat = Beat(db, worker_id=worker_id, given_up=give_up)
    beat.start()
    async with _beating_on(beat):
        switchboard = await connect(
            config,
            db,
            report=reports.put,
            keep=open_keep(journal, worker_id=worker_id, failpoint=failpoint),
        )
    journal.on_settled = runner.look_again
    turns = Turns(db, runner, Admitter(config, switchboard, worker_id=worker_id))
    strays = Strays(db, runner, journal, worker_id=worker_id)
    inquiry = Inquiry(db, journal, switchboard, unknown_grace=grace)
    housekeeping = Housekeeping(config, db, inquiry)
    writing = asyncio.create_task(journal.run(), name="journal")
    writers = [writing, asyncio.create_task(reports.run(), name="reports")]
    movers = [
        asyncio.create_task(runner.halts.watch(), name="halts"),
        asyncio.create_task(strays.run(), name="strays"),
        asyncio.create_task(housekeeping.run(), name="housekeeping"),
        asyncio.create_task(switchboard.watch(), name="switchboard"),
        asyncio.create_task(_serve_turns(db, turns), name="turns"),
    ]
    log.info("worker.started", worker=worker_id)
    stopped = asyncio.create_task(stop.wait())
    fenced = asyncio.create_task(ended.wait())
    try:
        done, _ = await asyncio.wait(
            {stopped, fenced, *writers, *movers}, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done & {*writers, *movers}:
            task.result()
    finally:
        turns.close()
        try:
            # The queue's worker first sees the ends of its turns: what it is told after its own
            # end, it cannot write down.
            async with tasks.at_most(TURNS_END_SECONDS):
                await turns.ended()
            await tasks.end(stopped, fenced, *movers)
            await _until(runner.finished(), writing, stop=stop, seconds=config.stop_seconds)
            await runner.break_off()
            await _until(journal.idle(), writing, stop=stop, seconds=WRITING_SECONDS)
            await switchboard.close()
        finally:
            await tasks.end(*writers)
            await asyncio.to_thread(beat.stop)
            with suppress(*TRANSIENT):
                async with db.transaction() as conn:
                    await workers.end(conn, worker_id=worker_id, now=db.clock())
            log.info("worker.ended", worker=worker_id)


@asynccontextmanager
async def _beating_on(beat: Beat) -> AsyncIterator[None]:
    """Stop the beat of a worker that does not come about; else leave it to whoever ends it."""
    try:
        yield
    except BaseException:
        await asyncio.to_thread(beat.stop)
        raise


async def _serve_turns(db: Database, turns: Turns) -> None:
    """Take turns from the queue; the queue's worker is started again when it ends unasked."""
    app = queue.make_app(db.url)

    async def turn(team_id: int) -> None:
        await turns.serve(team_id)

    app.task(name=queue.TURN_TASK, queue=queue.TURN_QUEUE)(turn)
    while True:
        try:
            await app.open_async()
            await app.run_worker_async(concurrency=TURNS_AT_ONCE)
        except procrastinate.exceptions.ConnectorException as error:
            log.warning("turns.restarted", error=str(error))
        finally:
            # Also when it was cancelled while opening: a pool left open keeps the process alive.
            await app.close_async()
        await asyncio.sleep(RESTART_SECONDS)


async def _until(
    work: Coroutine[None, None, None],
    writing: asyncio.Task[None],
    *,
    stop: asyncio.Event,
    seconds: float,
) -> None:
    """Let work end; once the process is to stop, wait no longer than so many seconds for it.

    A worker that was only given up has time: what it learns late is still true, and nobody else
    may be able to learn it. Without the journal there is nothing to wait for.
    """
    working, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopped, writing}, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait({working, writing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    await tasks.end(working, stopped)
