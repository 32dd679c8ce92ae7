"""Time limits for many waits at once."""

import asyncio
from types import TracebackType
from typing import Self


class Patience:
    """Ends waits that take too long, as `asyncio.timeout` does, with one timer for each length.

    A timer for each wait costs more than everything else that is done for a request. All requests
    to one provider have the same limit, so they run out in the order in which they began, and only
    the first needs a timer. To be used within one event loop.
    """

    def __init__(self) -> None:
        self._lines: dict[float, _Line] = {}

    def within(self, seconds: float) -> "_Wait":
        """Limit what is awaited under `with`; raises `TimeoutError` there when it takes longer."""
        line = self._lines.get(seconds)
        if line is None:
            line = self._lines[seconds] = _Line(seconds, asyncio.get_running_loop())
        return _Wait(line)


class _Line:
    """Waits of one length, the first to run out in front."""

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        self._seconds = seconds
        self.loop = loop
        self._waits: dict[_Wait, None] = {}
        self._has_timer = False

    def put(self, wait: "_Wait") -> None:
        wait.ends_at = self.loop.time() + self._seconds
        self._waits[wait] = None
        if not self._has_timer:
            self._has_timer = True
            self.loop.call_at(wait.ends_at, self._expire)

    def take(self, wait: "_Wait") -> None:
        self._waits.pop(wait, None)

    def _expire(self) -> None:
        now = self.loop.time()
        while (first := next(iter(self._waits), None)) is not None and first.ends_at <= now:
            del self._waits[first]
            first.expire()
        self._has_timer = first is not None
        if first is not None:
            self.loop.call_at(first.ends_at, self._expire)


class _Wait:
    """One wait; cancels its task when it has run out, and takes that cancellation back."""

    __slots__ = ("_cancellations", "_has_expired", "_line", "_task", "ends_at")

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._has_expired = False
        self.ends_at = 0.0

    def __enter__(self) -> Self:
        task = asyncio.current_task(self._line.loop)
        if task is None:
            raise RuntimeError("Waits are limited within a task only.")
        self._task, self._cancellations = task, task.cancelling()
        self._line.put(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._line.take(self)
        if not self._has_expired:
            return
        # Whoever else cancelled the task meanwhile has the last word.
        is_ours_alone = self._task.uncancel() <= self._cancellations
        if is_ours_alone and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        self._has_expired = True
        self._task.cancel()
