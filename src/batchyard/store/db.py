"""Connections to PostgreSQL: one pool a process, transactions, and the offset of its clock."""

import asyncio
import json
import math
import re
import select
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

import orjson
import psycopg
import structlog
from psycopg import AsyncConnection, AsyncCursor, AsyncPipeline
from psycopg.rows import Row
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from batchyard import tasks
from batchyard.clock import DatabaseClock, monotonic
from batchyard.errors import ConfigError, StoreError
from batchyard.store.urls import unreachable, will_answer_soon

TRANSIENT = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
    psycopg.errors.ReadOnlySqlTransaction,
    PoolTimeout,
)
"""Faults of the connection or of concurrency (40P01 and 40001 are OperationalErrors), and a server
that is only read while another takes over: repeat."""

Connection = AsyncConnection[tuple[object, ...]]

OPEN_TIMEOUT_SECONDS = 10.0
POOL_PATIENCE_SECONDS = 30.0
RECONNECT_SECONDS = 0.5
FRESH_SECONDS = 5.0
"""How long after its last use a connection is taken to be good unless it says otherwise."""
STATEMENT_TIMEOUT_MS = 60_000
IDLE_TIMEOUT_MS = 5_000
"""A process that was stopped inside a transaction must not hold its locks against all others."""
PIPELINE_TIMEOUT_MS = 10_000
"""So it is inside a pipeline, which PostgreSQL never takes for idle between what is sent."""
TRANSACTION_TIMEOUT_SINCE = 170000
"""Before this version only what was answered for a pipeline can become idle."""
CLOCK_SECONDS = 5.0
"""How often each process measures PostgreSQL's clock again: two that differ disagree on what is
due, and on who is silent."""

LIMIT_PIPELINE = f"SET LOCAL transaction_timeout = {PIPELINE_TIMEOUT_MS}"

log = structlog.get_logger("batchyard.db")


class PatientConnection(AsyncConnection[tuple[object, ...]]):
    """Waits for a PostgreSQL that is away, so that pools go on as soon as it is back.

    The pools' own way is to try after 1, 2, 4, 8 ... seconds: too late by as long as it was away.
    """

    lent_at = -math.inf
    """When its pool lent it last, by `monotonic`."""
    pipelined: AsyncPipeline | None = None
    """While it sends on without waiting."""

    @classmethod
    async def connect(cls, conninfo: str = "", **how: Any) -> Self:  # noqa: ANN401  # as psycopg's
        """Connect; while that fails try again, for as long as a pool's client waits."""
        give_up_at = monotonic() + POOL_PATIENCE_SECONDS
        while True:
            try:
                return await super().connect(conninfo, **how)
            except psycopg.OperationalError:
                if monotonic() > give_up_at:
                    raise
            await asyncio.sleep(RECONNECT_SECONDS)


@contextmanager
def _noted(connection: Connection, pipeline: AsyncPipeline) -> Iterator[None]:
    """Let the cursors of a connection know of its pipeline."""
    if not isinstance(connection, PatientConnection):
        yield
        return
    connection.pipelined = pipeline
    try:
        yield
    finally:
        connection.pipelined = None


class _Cursor(AsyncCursor[Row]):
    """Ends with a Sync what it asks to be answered in a pipeline.

    To what is only flushed PostgreSQL answers too, but stays busy: no timeout of an idle
    transaction would end it while its process is stopped.
    """

    async def fetchone(self) -> Row | None:
        await self._sync()
        return await super().fetchone()

    async def fetchmany(self, size: int = 0) -> list[Row]:
        await self._sync()
        return await super().fetchmany(size)

    async def fetchall(self) -> list[Row]:
        await self._sync()
        return await super().fetchall()

    async def __anext__(self) -> Row:
        await self._sync()
        return await super().__anext__()

    async def _sync(self) -> None:
        connection = self.connection
        if (
            isinstance(connection, PatientConnection)
            and connection.pipelined is not None
            and self.pgresult is None
        ):
            await connection.pipelined.sync()


class _Pool(AsyncConnectionPool[Connection]):
    """Keeps a cancellation that comes together with a connection.

    Before Python 3.12 `asyncio.wait_for`, which the pool queues with, loses it
    (python/cpython#86296), and whoever was to end goes on.
    """

    async def getconn(self, timeout: float | None = None) -> Connection:  # noqa: ASYNC109  # as theirs
        """Lend a connection."""
        task = asyncio.current_task()
        before = task.cancelling() if task is not None else 0
        connection = await super().getconn(timeout)
        if task is not None and task.cancelling() > before:
            await self.putconn(connection)
            raise asyncio.CancelledError
        return connection


class Database:
    """The pool and the clock of one process. Open it before use, close it after."""

    def __init__(self, url: str, *, max_connections: int = 16) -> None:
        self.url = url
        self.clock = DatabaseClock()
        self._measuring: asyncio.Task[None] | None = None
        self.pool: AsyncConnectionPool[Connection] = _Pool(
            url,
            min_size=1,
            max_size=max_connections,
            open=False,
            timeout=POOL_PATIENCE_SECONDS,
            connection_class=PatientConnection,
            configure=_configure,
            check=_check,
        )

    async def open(self) -> None:
        """Connect; raise `ConfigError` with what to do when PostgreSQL cannot be reached."""
        version = await self._read_version()
        if version < 160000:
            raise ConfigError(
                f"PostgreSQL {version // 10000} is too old; Batchyard needs 16 or newer."
            )
        try:
            await self.pool.open(wait=True, timeout=OPEN_TIMEOUT_SECONDS)
        except PoolTimeout as error:
            raise ConfigError("PostgreSQL accepts no more connections.") from error
        await self.measure_clock()
        self._measuring = asyncio.create_task(self._keep_measuring(), name="clock")

    async def _read_version(self) -> int:
        """Connect outside the pool, whose error would only say 'timeout'."""
        give_up_at = monotonic() + POOL_PATIENCE_SECONDS
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self.url, connect_timeout=int(OPEN_TIMEOUT_SECONDS)
                ) as connection:
                    return connection.info.server_version
            except UnicodeError as error:
                raise unreachable(error) from error
            except psycopg.Error as error:
                if monotonic() > give_up_at or not will_answer_soon(error):
                    raise unreachable(error) from error
            await asyncio.sleep(RECONNECT_SECONDS)

    async def close(self) -> None:
        """Give all connections back to PostgreSQL."""
        if self._measuring is not None:
            await tasks.end(self._measuring)
        await self.pool.close(timeout=2)

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[Connection]:
        """Lend a connection for a single statement, which PostgreSQL commits by itself.

        Its locks are gone when it is done, however busy this process is.
        """
        async with self.pool.connection() as connection:
            try:
                yield connection
            except psycopg.errors.ReadOnlySqlTransaction:
                # The address may lead to another server by now, this connection never will.
                await connection.close()
                raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection for one transaction: committed on leaving, undone on an error."""
        async with self.statement() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[Connection]:
        """Lend a connection for one transaction that sends on without waiting for answers.

        A statement's answer is waited for when it is fetched; until then a cursor knows no
        `rowcount`, and its error is raised by what is fetched next, or on leaving.
        """
        async with self.statement() as connection, connection.pipeline() as pipeline:
            with _noted(connection, pipeline):
                async with connection.transaction():
                    if connection.info.server_version >= TRANSACTION_TIMEOUT_SINCE:
                        await connection.execute(LIMIT_PIPELINE)
                    yield connection

    async def measure_clock(self) -> None:
        """Correct the clock by PostgreSQL's."""
        async with self.pool.connection() as connection:
            asked_at = monotonic()
            row = await (await connection.execute("SELECT clock_timestamp()")).fetchone()
            answered_at = monotonic()
        if row is None:
            raise StoreError("PostgreSQL did not tell its time.")
        self.clock.correct(
            database_now=row[0],  # type: ignore[arg-type]  # a timestamptz
            asked_at=asked_at,
            answered_at=answered_at,
        )

    async def _keep_measuring(self) -> None:
        while True:
            await asyncio.sleep(CLOCK_SECONDS)
            try:
                await self.measure_clock()
            except (psycopg.Error, PoolTimeout) as error:
                log.warning("clock.unmeasured", error=str(error))


LONG_NUMBER = re.compile(rb"[0-9]{16}")


def read_json(data: str | bytes) -> object:
    """Read JSON as Python does: whole numbers of any size are kept to the digit.

    Without a long number it is left to orjson, which takes a third of the time and would round it.
    """
    encoded = data.encode() if isinstance(data, str) else data
    return json.loads(encoded) if LONG_NUMBER.search(encoded) else orjson.loads(encoded)


async def _configure(connection: Connection) -> None:
    set_json_loads(read_json, connection)
    connection.prepare_threshold = 2
    connection.cursor_factory = _Cursor
    await connection.set_autocommit(True)
    await connection.execute(f"SET statement_timeout = {STATEMENT_TIMEOUT_MS}")
    await connection.execute(f"SET idle_in_transaction_session_timeout = {IDLE_TIMEOUT_MS}")
    await connection.execute("SET timezone = 'UTC'")
    await connection.execute("SET client_encoding = 'UTF8'")


async def _check(connection: Connection) -> None:
    """Raise when a connection is of no use any more.

    PostgreSQL is asked only where the connection was silent for a while: one that was used just
    now and whose server has ended has something to read, and that costs no round trip to see.
    """
    if isinstance(connection, PatientConnection):
        last_lent_at, connection.lent_at = connection.lent_at, monotonic()
        is_fresh = connection.lent_at - last_lent_at < FRESH_SECONDS
        if is_fresh and not _has_something_to_read(connection):
            return
    await AsyncConnectionPool.check_connection(connection)


def _has_something_to_read(connection: Connection) -> bool:
    polling = select.poll()
    polling.register(connection.fileno(), select.POLLIN)
    return bool(polling.poll(0))
