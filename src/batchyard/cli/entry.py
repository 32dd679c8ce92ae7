"""Where the program `batchyard` begins and ends: Ctrl-C, and errors in one line."""

import importlib
import sys

from batchyard.cli.exit_codes import INTERRUPTED, REFUSED
from batchyard.cli.interrupts import leaving_at_once
from batchyard.errors import BatchyardError


def run() -> None:
    """Run the command line; what we raise on purpose becomes one line and exit code 2."""
    with leaving_at_once():
        app = importlib.import_module("batchyard.cli.main").app
    try:
        app()
    except BatchyardError as error:
        sentence = " ".join(error.message.split())
        print(f"batchyard: {sentence}", file=sys.stderr)  # noqa: T201  # how a command speaks
        sys.exit(REFUSED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
