"""Commands as processes of their own that need not load the libraries first.

Loading takes seconds of every start, and hundreds of tests start a command. So one process a test
run loads everything, then forks for each command: what runs is the same program with its own
arguments, environment, files, signals and end. Tests of the start itself begin one afresh.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

import batchyard.cli
from batchyard.cli import entry

ROOT = Path(__file__).parents[2]
LARGEST_ORDER = 1 << 17

_one_at_a_time = threading.Lock()
"""Threads start commands too: each gets the answer to its own order, from the same process."""

CAN_FORK = hasattr(os, "pidfd_open")
"""Only Linux tells of the end of a process in a way that needs no thread."""


class Command:
    """A command that was started; to be used like a `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str], *files: IO[bytes]) -> None:
        """Start it with these as standard input, output and error."""
        self.args = ["batchyard", *arguments]
        self.returncode: int | None = None
        ours, theirs = socket.socketpair()
        with theirs:
            order = json.dumps({"args": self.args, "env": dict(env), "folder": str(Path.cwd())})
            fds = [theirs.fileno(), *(file.fileno() for file in files)]
            with _one_at_a_time:
                loader = _loader()
                socket.send_fds(loader, [order.encode()], fds)
                self.pid = int(loader.recv(20))
        self._ended = ours

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, as soon as there is one; raise `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            self._ended.settimeout(timeout)
            try:
                self.returncode = int(self._ended.recv(20))
            except (TimeoutError, BlockingIOError) as error:
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from error
            self._ended.close()
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


@cache
def _loader() -> socket.socket:
    """Return the line to the process that forks; it ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.loaded", str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _load_all() -> None:
    for module in pkgutil.iter_modules(batchyard.cli.__path__):
        importlib.import_module(f"batchyard.cli.{module.name}")
    assert threading.active_count() == 1, "only what has one thread may be forked"
    gc.freeze()


def _serve(orders: socket.socket) -> bool:
    """Fork for each order; return True in the process that is to carry one out."""
    running: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as waiting:
        waiting.register(orders, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is orders:
                    order, fds, _, _ = socket.recv_fds(orders, LARGEST_ORDER, 4)
                    if not order:
                        return False
                    pid = os.fork()
                    if pid == 0:
                        for line in running.values():
                            line.close()
                        _become(json.loads(order), fds)
                        return True
                    orders.send(str(pid).encode())
                    line = socket.socket(fileno=fds[0])
                    for fd in fds[1:]:
                        os.close(fd)
                    pidfd = os.pidfd_open(pid)
                    running[pidfd] = line
                    waiting.register(pidfd, selectors.EVENT_READ, pid)
                else:
                    _tell_end(key.data, running.pop(key.fd))
                    waiting.unregister(key.fd)
                    os.close(key.fd)


def _tell_end(pid: int, line: socket.socket) -> None:
    _, status = os.waitpid(pid, 0)
    with line:
        try:
            line.send(str(os.waitstatus_to_exitcode(status)).encode())
        except OSError:
            return  # Nobody waits for it any more.


def _become(order: Mapping[str, object], fds: Sequence[int]) -> None:
    args, env, folder = order["args"], order["env"], order["folder"]
    assert isinstance(args, list)
    assert isinstance(env, dict)
    for number, fd in enumerate(fds[1:]):
        os.dup2(fd, number)
    for fd in fds:
        os.close(fd)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(str(folder))
    sys.argv = args
    # What was open before the fork is that process's.
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w", buffering=1)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests.
    _load_all()
    with socket.socket(fileno=int(sys.argv[1])) as line:
        is_command = _serve(line)
    if is_command:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        entry.run()
