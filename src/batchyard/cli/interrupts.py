"""What Ctrl-C does while commands are being loaded."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from batchyard.cli.exit_codes import INTERRUPTED


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """End at Ctrl-C instead of showing where in the loading that was; nothing is begun yet."""
    signal.signal(signal.SIGINT, _leave)
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)
