"""Keys that are pressed while something is shown."""

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pressed_keys() -> Iterator["asyncio.Queue[str] | None"]:
    """Lend the keys as they are pressed, not shown; None where nobody can press any.

    The terminal is as it was afterwards. Ctrl-C stays what it is.
    """
    if not sys.stdin.isatty():
        yield None
        return
    fd = sys.stdin.fileno()
    keys: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def take() -> None:
        pressed = os.read(fd, 64)
        if not pressed:
            loop.remove_reader(fd)
        for key in pressed.decode(errors="replace"):
            keys.put_nowait(key)

    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        loop.add_reader(fd, take)
        yield keys
    finally:
        loop.remove_reader(fd)
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
