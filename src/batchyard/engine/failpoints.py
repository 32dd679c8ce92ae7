"""Named steps at which a test may kill the process: how the promise about crashes is proven."""

import os
import signal
from enum import StrEnum


class Step(StrEnum):
    """The moments between which a crash must make no difference."""

    AFTER_CLAIM = "after_claim"
    AFTER_INTENT = "after_intent"
    BEFORE_KEEP = "before_keep"
    AFTER_KEEP = "after_keep"
    AFTER_SEND = "after_send"
    AFTER_OUTCOME = "after_outcome"
    IN_CALLBACK = "in_callback"
    IN_COUNTING = "in_counting"


class Failpoint:
    """Kills this process when a step is reached for the n-th time; unset, it does nothing."""

    def __init__(self, setting: str | None) -> None:
        """Read `step` or `step:n` (n counts from 1), as `Config` has checked it."""
        name, _, count = (setting or "").partition(":")
        self._step = Step(name) if name else None
        self._left = int(count or 1)

    def reach(self, step: Step) -> None:
        """Die here if this is the step, and its turn."""
        if step is not self._step:
            return
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
