"""Waiting for a condition, as tests never sleep blindly."""

import time
from collections.abc import Callable

POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], object], *, timeout_seconds: float = 60) -> None:
    """Return once the condition holds; fail when it never does."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            name = getattr(condition, "__name__", condition)
            raise AssertionError(f"not within {timeout_seconds} s: {name}")
        time.sleep(POLL_SECONDS)
