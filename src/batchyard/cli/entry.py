"""Where the program `batchyard` begins and ends: Ctrl-C, and errors in one line."""

import importlib
import os
import signal
import sys
from types import FrameType

from batchyard.errors import BatchyardError

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


def run() -> None:
    """Run the command line; what we raise on purpose becomes one line and exit code 2."""
    # Loading the commands takes most of a second: Ctrl-C then should end, not show a traceback.
    signal.signal(signal.SIGINT, _leave)
    app = importlib.import_module("batchyard.cli.main").app
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        app()
    except BatchyardError as error:
        sentence = " ".join(error.message.split())
        print(f"batchyard: {sentence}", file=sys.stderr)  # noqa: T201  # how a command speaks
        sys.exit(EXIT_ERROR)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(EXIT_INTERRUPTED)
