"""The small process beside the private PostgreSQL: starts it, and stops it when nobody uses it."""

import fcntl
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NoReturn

import psutil  # type: ignore[import-untyped]  # it carries no types

from batchyard.clock import monotonic
from batchyard.errors import ConfigError
from batchyard.store.cluster import Cluster
from batchyard.store.programs import last_complaint

START_TIMEOUT_SECONDS = 120.0
"""Long, because after a crash the server replays its log first."""
STOP_TIMEOUT_SECONDS = 4.0
"""Then it is ended hard: the next start recovers, and nothing is lost."""
LEFTOVER_TIMEOUT_SECONDS = 10.0
"""How long the children of a killed server may take to notice."""
LOG_BYTES = 10 * 1024**2

POLL_SECONDS = 0.02
LOOK_SECONDS = 0.5
"""How often it looks for users, at most."""

READY = "ready"


def main(arguments: list[str]) -> None:
    """Run as a daemon; the arguments are folder, version, idle seconds.

    How the start went is written to the standard output, which is closed then.
    """
    folder, version, idle_seconds = arguments
    if os.fork() != 0:
        os._exit(0)  # only this process is waited for
    cluster = Cluster(folder=Path(folder), version=int(version))
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with lock_file(cluster, "watcher") as watching, lock_file(cluster, "users") as users:
        if not try_lock(watching):
            return
        with _open_log(cluster) as log:
            os.dup2(log.fileno(), 2)
            try:
                server = _start(cluster, log=log)
            except ConfigError as error:
                _tell(error.message)
                return
            try:
                _tell(READY)
                os.dup2(log.fileno(), 1)
                _wait_until_unused(server, users=users, idle_seconds=float(idle_seconds))
            finally:
                # The locks are still held: who comes now waits, and starts anew.
                _stop(server)


def lock_file(cluster: Cluster, name: str) -> BinaryIO:
    """Open a file that is only ever locked; never removed, else two could hold one lock."""
    path = cluster.folder / "locks" / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    return path.open("ab")


def try_lock(file: BinaryIO) -> bool:
    """Take a lock for oneself alone if it is free; closing the file frees it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start(cluster: Cluster, *, log: BinaryIO) -> psutil.Process:
    """Start the server, or adopt the one that a killed watcher left."""
    cluster.initialise()
    began_at = monotonic()
    child = None
    log_size = 0
    while monotonic() < began_at + START_TIMEOUT_SECONDS:
        running = cluster.find_postmaster()
        if running is not None and running.is_ready:
            with suppress(psutil.NoSuchProcess):
                return psutil.Process(running.pid)
        if child is None and running is None:
            log_size = cluster.log.stat().st_size
            child = cluster.launch(log=log)
        if child is not None and child.poll() is not None:
            complaint = last_complaint(cluster.log.read_bytes()[log_size:].decode(errors="replace"))
            is_leftover = "still in use" in complaint
            if not is_leftover or monotonic() > began_at + LEFTOVER_TIMEOUT_SECONDS:
                raise ConfigError(f"PostgreSQL does not start: {complaint} (more in {cluster.log})")
            child = None
        time.sleep(POLL_SECONDS)
    raise ConfigError(
        f"PostgreSQL is not ready after {START_TIMEOUT_SECONDS:.0f} s; see {cluster.log}."
    )


def _wait_until_unused(server: psutil.Process, *, users: BinaryIO, idle_seconds: float) -> None:
    """Return with the lock held when there were no users for a while, or when the server ends."""
    used_at = monotonic()
    while server.is_running() and server.status() != psutil.STATUS_ZOMBIE:
        if not try_lock(users):
            used_at = monotonic()
        elif monotonic() - used_at >= idle_seconds:
            return
        else:
            fcntl.flock(users, fcntl.LOCK_UN)
        time.sleep(max(POLL_SECONDS, min(LOOK_SECONDS, idle_seconds / 4)))


def _stop(server: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        server.send_signal(signal.SIGINT)
        try:
            server.wait(STOP_TIMEOUT_SECONDS)
        except psutil.TimeoutExpired:
            server.send_signal(signal.SIGQUIT)
            server.wait(STOP_TIMEOUT_SECONDS)


def _open_log(cluster: Cluster) -> BinaryIO:
    with suppress(FileNotFoundError):
        if cluster.log.stat().st_size > LOG_BYTES:
            cluster.log.replace(cluster.log.with_suffix(".log.1"))
    return cluster.log.open("ab")


def _tell(message: str) -> None:
    with suppress(BrokenPipeError):
        os.write(1, message.encode())


def _leave(*_: object) -> NoReturn:
    raise SystemExit


if __name__ == "__main__":
    main(sys.argv[1:])
