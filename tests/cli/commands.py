"""Runs the command line as a user does: as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BATCHYARD = str(Path(sys.executable).with_name("batchyard"))


def environment(**settings: str) -> dict[str, str]:
    """Return this environment with only the given settings of ours."""
    foreign = {name: text for name, text in os.environ.items() if not name.startswith("BATCHYARD_")}
    version = os.environ.get("BATCHYARD_TEST_PG") or "18"
    return {**foreign, "BATCHYARD_PG_VERSION": version, "COLUMNS": "100", **settings}


def call(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; there is nothing to read at its standard input."""
    return call_with_input("", *arguments, **settings)


def call_with_input(
    text: str, *arguments: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with this at its standard input."""
    return subprocess.run(
        [BATCHYARD, *arguments],
        env=environment(**settings),
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def running(*arguments: str, log: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside the test, its stderr in `log`, and kill it at the end."""
    with (
        log.open("ab") as stderr,
        subprocess.Popen(
            [BATCHYARD, *arguments],
            env=environment(**settings),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()
