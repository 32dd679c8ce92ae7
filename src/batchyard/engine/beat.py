"""The worker's sign of life: a thread of its own, so that a busy event loop does not kill it."""

import threading
from collections.abc import Callable

import psycopg
import structlog

from batchyard.store import workers
from batchyard.store.db import Database

BEAT_SECONDS = 2.0

log = structlog.get_logger("batchyard.beat")


class Beat:
    """Beats until stopped; calls `given_up` once if the others took this worker for dead."""

    def __init__(self, db: Database, *, worker_id: int, given_up: Callable[[], None]) -> None:
        self._db = db
        self._worker_id = worker_id
        self._given_up = given_up
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)

    def start(self) -> None:
        """Start beating."""
        self._thread.start()

    def stop(self) -> None:
        """Stop beating; the worker's row is ended by the caller."""
        self._stopping.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with psycopg.connect(
                    self._db.url, autocommit=True, connect_timeout=5
                ) as connection:
                    holds_life = False
                    while not self._stopping.is_set():
                        beaten = connection.execute(
                            workers.BEAT, {"worker_id": self._worker_id, "now": self._db.clock()}
                        )
                        # The connection before this one may still have it, for a moment.
                        holds_life = holds_life or self._hold_life(connection)
                        if beaten.rowcount == 0:
                            self._given_up()
                            return
                        self._stopping.wait(BEAT_SECONDS)
            except psycopg.Error as error:
                log.warning("beat.missed", worker=self._worker_id, error=str(error))
                self._stopping.wait(1)

    def _hold_life(self, connection: psycopg.Connection[tuple[object, ...]]) -> bool:
        """Take what tells the others at once when this process is no more."""
        given = {"key": workers.LIFE_LOCK, "worker_id": self._worker_id}
        row = connection.execute(workers.HOLD_LIFE, given).fetchone()
        return row == (True,)
