"""Queues with a job for each item, set up the fast way of their own documentation.

PgQueuer: durable tables, its autovacuum settings (`pgq autovac`), asyncpg, uvloop, jobs put in by
lists, fetched in large batches. Procrastinate: psycopg, uvloop, jobs put in by `batch_defer`, many
at once in a worker, deleted when done.
"""

import argparse
import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import asyncpg
import procrastinate
import psycopg
import uvloop
from pgqueuer import PgQueuer, Queries
from pgqueuer.models import Job
from procrastinate.types import JSONValue

ENTRYPOINT = "item"
FETCH = 500
"""Jobs that PgQueuer takes in one statement; of 100 to 2,000 the fastest here."""
CONCURRENCY = 100
"""Jobs that Procrastinate runs at once; more do not make it faster here."""
ENQUEUE = 5000
QUEUE = "rival"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rival:
    """How one of them is set up, filled and run."""

    set_up: Callable[[str], Awaitable[None]]
    put_in: Callable[[str, int], Awaitable[None]]
    """Make so many jobs in one transaction."""
    work: Callable[[str, asyncio.Event], Awaitable[None]]


async def _set_up_pgqueuer(url: str) -> None:
    connection = await asyncpg.connect(url)
    queries = Queries.from_asyncpg_connection(connection)
    await queries.install()
    await queries.optimize_autovacuum()
    await connection.close()


async def _fill_pgqueuer(url: str, jobs: int) -> None:
    connection = await asyncpg.connect(url)
    queries = Queries.from_asyncpg_connection(connection)
    async with connection.transaction():
        for first in range(0, jobs, ENQUEUE):
            numbers = range(first, min(first + ENQUEUE, jobs))
            await queries.enqueue(
                [ENTRYPOINT] * len(numbers), [b"%d" % n for n in numbers], [0] * len(numbers)
            )
    await connection.close()


async def _work_for_pgqueuer(url: str, stop: asyncio.Event) -> None:
    connection = await asyncpg.connect(url, server_settings={"application_name": QUEUE})
    rival = PgQueuer.from_asyncpg_connection(connection)

    async def done(job: Job) -> None:
        del job

    rival.entrypoint(ENTRYPOINT)(done)
    running = asyncio.create_task(rival.run(batch_size=FETCH))
    await stop.wait()
    rival.shutdown.set()
    await running


def _app(url: str) -> procrastinate.App:
    return procrastinate.App(
        connector=procrastinate.PsycopgConnector(
            conninfo=url, kwargs={"application_name": QUEUE}, max_size=10
        )
    )


async def _set_up_procrastinate(url: str) -> None:
    """Its tables are there: the turns of Batchyard are its jobs."""
    del url


async def _fill_procrastinate(url: str, jobs: int) -> None:
    async with (
        await psycopg.AsyncConnection.connect(url) as connection,
        connection.transaction(),
    ):
        deferrer = _app(url).configure_task(
            ENTRYPOINT, allow_unknown=True, queue=QUEUE, connection=connection
        )
        for first in range(0, jobs, ENQUEUE):
            arguments: list[dict[str, JSONValue]] = [
                {"n": n} for n in range(first, min(first + ENQUEUE, jobs))
            ]
            await deferrer.batch_defer_async(*arguments)


async def _work_for_procrastinate(url: str, stop: asyncio.Event) -> None:
    app = _app(url)

    async def done(n: int) -> None:
        del n

    app.task(name=ENTRYPOINT, queue=QUEUE)(done)
    async with app.open_async():
        running = asyncio.create_task(
            app.run_worker_async(
                queues=[QUEUE],
                concurrency=CONCURRENCY,
                delete_jobs="always",
                install_signal_handlers=False,
            )
        )
        await stop.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


RIVALS: Mapping[str, Rival] = {
    "PgQueuer": Rival(
        set_up=_set_up_pgqueuer,
        put_in=_fill_pgqueuer,
        work=_work_for_pgqueuer,
    ),
    "Procrastinate": Rival(
        set_up=_set_up_procrastinate,
        put_in=_fill_procrastinate,
        work=_work_for_procrastinate,
    ),
}


async def _set_up(name: str, url: str) -> None:
    await RIVALS[name].set_up(url)


async def _work(name: str, url: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await RIVALS[name].work(url, stop)


async def _fill(name: str, url: str, jobs: int) -> None:
    await RIVALS[name].put_in(url, jobs)


def main() -> None:
    """Set up, put in so many jobs, or be a worker until a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("do", choices=("set-up", "put-in", "work"))
    parser.add_argument("--name", choices=tuple(RIVALS), required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--jobs", type=int, default=0)
    given = parser.parse_args()
    match given.do:
        case "set-up":
            uvloop.run(_set_up(given.name, given.url))
        case "put-in":
            uvloop.run(_fill(given.name, given.url, given.jobs))
            # The end of this process tells that they are committed.
            os._exit(0)
        case _:
            uvloop.run(_work(given.name, given.url))


if __name__ == "__main__":
    main()
