"""Processes for the work that would hold up everybody else: reading spreadsheets, checking rows."""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager
from multiprocessing.context import ForkServerContext
from typing import ParamSpec, TypeVar

import structlog

P = ParamSpec("P")
T = TypeVar("T")

QUEUED_PER_PROCESS = 2
"""Work that waits at most, so that a fast upload does not fill the memory."""
PRELOADED = ["batchyard.intake.check", "batchyard.intake.spreadsheets"]

log = structlog.get_logger("batchyard.intake")


class Pool:
    """Some processes of this server; they start with the first work and stay."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._room = asyncio.Semaphore(processes * (1 + QUEUED_PER_PROCESS))
        self._apart = asyncio.Semaphore(1)
        self._executor: ProcessPoolExecutor | None = None

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do pure work in one of the processes; once more if its process was killed."""
        async with self._room:
            executor = self._opened()
            try:
                return await asyncio.wrap_future(executor.submit(work, *args, **kwargs))
            except BrokenProcessPool:
                log.warning("intake.process_lost")
                if self._executor is executor:
                    self._executor = None
                return await asyncio.wrap_future(self._opened().submit(work, *args, **kwargs))

    async def run_apart(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do work that needs much memory in a process that ends after it; one at a time."""
        async with self._apart:
            executor = ProcessPoolExecutor(1, mp_context=_context(), initializer=_live_with_parent)
            try:
                return await asyncio.wrap_future(executor.submit(work, *args, **kwargs))
            finally:
                executor.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End the processes."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None

    def _opened(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self.processes, mp_context=_context(), initializer=_live_with_parent
            )
        return self._executor


_current: Pool | None = None


@asynccontextmanager
async def open_pool(processes: int) -> AsyncIterator[None]:
    """Let `run_aside` use processes of its own while the block runs; 0 are none."""
    global _current  # noqa: PLW0603  # one for the process, like the processes themselves
    before, opened = _current, Pool(processes) if processes else None
    _current = opened
    try:
        yield
    finally:
        _current = before
        if opened is not None:
            await asyncio.to_thread(opened.close)


async def run_aside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do pure work outside this process, or in a thread where no pool is open."""
    if _current is None:
        return await asyncio.to_thread(work, *args, **kwargs)
    return await _current.run(work, *args, **kwargs)


async def run_apart(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do work that needs much memory in a process of its own, or in a thread without a pool."""
    if _current is None:
        return await asyncio.to_thread(work, *args, **kwargs)
    return await _current.run_apart(work, *args, **kwargs)


def parallel_blocks() -> int:
    """Return how much work of one upload may be under way at once."""
    return 1 if _current is None else _current.processes + 1


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    # Loaded once in the parent of them all, so they start at once and share its memory.
    context.set_forkserver_preload(PRELOADED)
    return context


def _live_with_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it does, however it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.join,), daemon=True).start()


def _end_after(wait: Callable[[], object]) -> None:
    wait()
    os._exit(0)
