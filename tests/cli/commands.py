"""Runs the command line as a user does, as a process of its own; or here, for speed."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import structlog
from typer.testing import CliRunner, Result

from batchyard.cli.main import app
from tests.cli.loaded import CAN_FORK, Command

BATCHYARD = str(Path(sys.executable).with_name("batchyard"))

Process = Command | subprocess.Popen[bytes]


def environment(**settings: str) -> dict[str, str]:
    """Return this environment with only the given settings of ours."""
    foreign = {name: text for name, text in os.environ.items() if not name.startswith("BATCHYARD_")}
    ours = {
        "BATCHYARD_PG_VERSION": os.environ.get("BATCHYARD_TEST_PG") or "18",
        "COLUMNS": "100",
        # Whoever runs the tests may have logged in somewhere.
        "XDG_CONFIG_HOME": "/nowhere",
    }
    return {**foreign, **ours, **settings}


def call(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; there is nothing to read at its standard input."""
    return call_with_input("", *arguments, **settings)


def call_with_input(
    text: str, *arguments: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with this at its standard input."""
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write(text.encode())
        given.seek(0)
        process = start(arguments, environment(**settings), given, out, err)
        try:
            code = process.wait(60)
        finally:
            process.kill()
        out.seek(0)
        err.seek(0)
        said, complained = out.read().decode(), err.read().decode()
    return subprocess.CompletedProcess(arguments, code, said, complained)


def call_here(*arguments: str, text: str = "", **settings: str) -> Result:
    """Run a command within this process, which costs no start; what it raises is in the result."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    try:
        return CliRunner(env=settings).invoke(app, arguments, input=text)
    finally:
        root.handlers = handlers
        root.setLevel(level)
        structlog.configure(**before)


@contextmanager
def running(*arguments: str, log: Path, **settings: str) -> Iterator[Process]:
    """Run a command beside the test, its stderr in `log`, and kill it at the end."""
    with _kept(start, arguments, environment(**settings), log) as process:
        yield process


@contextmanager
def running_afresh(*arguments: str, log: Path, **settings: str) -> Iterator[Process]:
    """Do as `running`, for tests of the start itself, or of who is who among the processes."""
    with _kept(start_afresh, arguments, environment(**settings), log) as process:
        yield process


@contextmanager
def running_changed(change: str, *arguments: str, log: Path, **settings: str) -> Iterator[Process]:
    """Do as `running_afresh`, after statements that change the program."""

    def begin(given: Sequence[str], env: Mapping[str, str], *files: IO[bytes]) -> Process:
        code = f"{change}\nfrom batchyard.cli import entry\nentry.run()"
        return _start([sys.executable, "-c", code, *given], env, *files)

    with _kept(begin, arguments, environment(**settings), log) as process:
        yield process


@contextmanager
def _kept(
    begin: Callable[..., Process], arguments: Sequence[str], env: Mapping[str, str], log: Path
) -> Iterator[Process]:
    with log.open("ab") as stderr, Path(os.devnull).open("r+b") as nothing:
        process = begin(arguments, env, nothing, nothing, stderr)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def start(arguments: Sequence[str], env: Mapping[str, str], *files: IO[bytes]) -> Process:
    """Start a command with these as standard input, output and error."""
    return Command(arguments, env, *files) if CAN_FORK else start_afresh(arguments, env, *files)


def start_afresh(arguments: Sequence[str], env: Mapping[str, str], *files: IO[bytes]) -> Process:
    """Start a command as `start` does, but from its very beginning."""
    return _start([BATCHYARD, *arguments], env, *files)


def _start(program: Sequence[str], env: Mapping[str, str], *files: IO[bytes]) -> Process:
    given, out, err = files
    return subprocess.Popen(program, env=env, stdin=given, stdout=out, stderr=err)
