"""Starts the private PostgreSQL, shares it between processes, and keeps it running."""

import fcntl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

import structlog

from batchyard.clock import monotonic
from batchyard.errors import ConfigError
from batchyard.store.cluster import Cluster
from batchyard.store.watcher import (
    POLL_SECONDS,
    READY,
    START_TIMEOUT_SECONDS,
    lock_file,
    try_lock,
)

IDLE_SECONDS = 10.0
"""How long the server outlives its last user."""
KEEP_SECONDS = 1.0
"""How often a user looks whether the server still runs."""

log = structlog.stdlib.get_logger(__name__)


class PrivateServer:
    """This process's share in the private PostgreSQL; it runs while anybody holds one."""

    def __init__(self, cluster: Cluster, *, share: BinaryIO, idle_seconds: float) -> None:
        self.url = cluster.url
        self._cluster = cluster
        self._share = share
        self._idle_seconds = idle_seconds
        self._is_released = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="postgresql-keeper", daemon=True)
        self._keeper.start()

    def release(self) -> None:
        """Give the share back; after the last one the server stops by itself."""
        self._is_released.set()
        self._keeper.join(START_TIMEOUT_SECONDS)
        self._share.close()

    def _keep(self) -> None:
        """Start the server again should it, or its watcher, be killed."""
        while not self._is_released.wait(KEEP_SECONDS):
            try:
                _ensure_running(self._cluster, idle_seconds=self._idle_seconds)
            except (ConfigError, OSError) as error:
                log.error("postgresql.restart_failed", reason=str(error))  # noqa: TRY400


def start(data_dir: Path, *, pg_version: int, idle_seconds: float = IDLE_SECONDS) -> PrivateServer:
    """Start the private PostgreSQL of a data folder, or join those who use it already.

    Raises `ConfigError` saying in one line what is wrong and what to do.
    """
    cluster = Cluster(folder=data_dir.resolve(), version=pg_version)
    cluster.prepare()
    share = lock_file(cluster, "users")
    try:
        # Waits while a watcher stops the server, and keeps it from doing so from now on.
        fcntl.flock(share, fcntl.LOCK_SH)
        _ensure_running(cluster, idle_seconds=idle_seconds)
    except BaseException:
        share.close()
        raise
    return PrivateServer(cluster, share=share, idle_seconds=idle_seconds)


def _ensure_running(cluster: Cluster, *, idle_seconds: float) -> None:
    """Return when a watched server takes connections; only one process at a time sees to it."""
    deadline = monotonic() + START_TIMEOUT_SECONDS
    with lock_file(cluster, "start") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        while monotonic() < deadline:
            server = cluster.find_postmaster()
            if not _is_watched(cluster):
                outcome = _start_watcher(cluster, idle_seconds=idle_seconds)
                if outcome not in (READY, ""):
                    raise ConfigError(outcome)
            elif server is not None and server.is_ready:
                return
            time.sleep(POLL_SECONDS)
    raise ConfigError(
        f"PostgreSQL is not ready after {START_TIMEOUT_SECONDS:.0f} s; see {cluster.log}."
    )


def _is_watched(cluster: Cluster) -> bool:
    with lock_file(cluster, "watcher") as file:
        return not try_lock(file)


def _start_watcher(cluster: Cluster, *, idle_seconds: float) -> str:
    """Return what the watcher says of the start; nothing when it was killed meanwhile."""
    command = [sys.executable, "-P", "-m", "batchyard.store.watcher"]
    watcher = subprocess.Popen(  # noqa: S603  # our own program
        [*command, str(cluster.folder), str(cluster.version), str(idle_seconds)],
        cwd=cluster.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Its own session: Ctrl-C at a terminal is not for it.
        start_new_session=True,
    )
    with watcher:
        outcome, _ = watcher.communicate()
    return outcome.decode()
