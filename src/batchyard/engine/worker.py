"""A worker: everything that runs batches in one process, started and stopped together."""

import asyncio
import os
import platform
from contextlib import suppress
from datetime import timedelta

import procrastinate
import structlog

from batchyard.config import Config
from batchyard.engine.admission import Admitter
from batchyard.engine.beat import Beat
from batchyard.engine.failpoints import Failpoint
from batchyard.engine.housekeeping import Housekeeping
from batchyard.engine.inquiry import Inquiry
from batchyard.engine.journal import Journal
from batchyard.engine.reports import Reports
from batchyard.engine.runner import Runner
from batchyard.engine.strays import Strays
from batchyard.engine.switchboard import SwitchboardOpener, open_exchange
from batchyard.engine.turn import Turns
from batchyard.store import queue, workers
from batchyard.store.db import TRANSIENT, Database
from batchyard.store.files import FileStore

TURNS_AT_ONCE = 4
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
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RESTART_SECONDS)


async def _work(
    config: Config, db: Database, *, stop: asyncio.Event, connect: SwitchboardOpener
) -> None:
    """One life of a worker.

    1. Register, start the beat.
    2. Start the journal, the runner, the housekeeping and the turns.
    3. Wait until stopped or given up.
    4. Admit nothing more; finish what is out; write the last outcomes; sign off.
    """
    async with db.transaction() as conn:
        worker_id = await workers.register(
            conn, host=platform.node(), pid=os.getpid(), now=db.clock()
        )
    log.info("worker.started", worker=worker_id)
    failpoint = Failpoint(config.failpoint)
    journal = Journal(
        db,
        unknown_grace=timedelta(seconds=config.unknown_grace_seconds),
        worker_id=worker_id,
        failpoint=failpoint,
        files=FileStore(config),
    )
    reports = Reports(db, journal)
    switchboard = await connect(config, db, report=reports.put)
    runner = Runner(db, journal, slots=config.worker_slots, failpoint=failpoint)
    journal.on_settled = runner.look_again
    turns = Turns(db, runner, Admitter(config, switchboard, worker_id=worker_id))
    strays = Strays(db, runner, journal, worker_id=worker_id)
    housekeeping = Housekeeping(config, db, Inquiry(db, journal, switchboard))
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def give_up() -> None:
        runner.is_fenced = True
        loop.call_soon_threadsafe(ended.set)

    beat = Beat(db, worker_id=worker_id, given_up=give_up)
    beat.start()
    writers = [
        asyncio.create_task(journal.run(), name="journal"),
        asyncio.create_task(reports.run(), name="reports"),
    ]
    movers = [
        asyncio.create_task(runner.watch_batches(), name="batch watch"),
        asyncio.create_task(strays.run(), name="strays"),
        asyncio.create_task(housekeeping.run(), name="housekeeping"),
        asyncio.create_task(switchboard.watch(), name="switchboard"),
        asyncio.create_task(_serve_turns(db, turns), name="turns"),
    ]
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
        await _end(stopped, fenced, *movers)
        await runner.drain(seconds=config.stop_seconds)
        with suppress(TimeoutError):
            await asyncio.wait_for(journal.idle(), timeout=2)
        await switchboard.close()
        await _end(*writers)
        await asyncio.to_thread(beat.stop)
        with suppress(*TRANSIENT):
            async with db.transaction() as conn:
                await workers.end(conn, worker_id=worker_id, now=db.clock())
        log.info("worker.ended", worker=worker_id)


async def _serve_turns(db: Database, turns: Turns) -> None:
    """Take turns from the queue; the queue's worker is started again when it ends unasked."""
    app = queue.make_app(db.url)

    async def turn(team_id: int) -> None:
        await turns.serve(team_id)

    app.task(name=queue.TURN_TASK, queue=queue.TURN_QUEUE)(turn)
    while True:
        try:
            async with app.open_async():
                await app.run_worker_async(concurrency=TURNS_AT_ONCE)
        except procrastinate.exceptions.ConnectorException as error:
            log.warning("turns.restarted", error=str(error))
        await asyncio.sleep(RESTART_SECONDS)


async def _end(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
