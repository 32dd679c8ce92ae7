"""The server as a process on a real port, for tests that need one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.commands import running
from tests.waiting import wait_until

TOKEN = "by_a-token-of-this-test"
"""Of the team `default`."""
AT_ONCE = {"BATCHYARD_SANDBOX_SPEED": "0"}
"""The sandbox does everything at once."""


@contextmanager
def serving(command: str, *, database_url: str, log: Path, **settings: str) -> Iterator[str]:
    """Run `serve` or `up` on a free port of this database, and lend its address."""
    with running(
        command,
        "--port",
        "0",
        log=log,
        BATCHYARD_DATABASE_URL=database_url,
        BATCHYARD_BOOTSTRAP_TOKEN=TOKEN,
        **settings,
    ) as process:

        def told() -> list[str]:
            assert process.poll() is None, log.read_text()
            lines = log.read_text().rpartition("\n")[0].splitlines()
            events = [json.loads(line) for line in lines]
            return [str(one["url"]) for one in events if one["event"] == "server.started"]

        wait_until(told, timeout_seconds=60)
        yield told()[0]
