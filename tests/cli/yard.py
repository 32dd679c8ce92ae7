"""A real server with a worker in a thread of its own, and commands that speak to it over HTTP."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from typer.testing import CliRunner

from batchyard.cli.exit_codes import REFUSED
from batchyard.cli.main import app
from batchyard.cli.services import work
from batchyard.config import Config
from batchyard.errors import BatchyardError
from batchyard.models import Team
from batchyard.store.db import Database
from tests.factories import make_team, make_token
from tests.serving import serving

Told = TypeVar("Told")


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    def one_line(self, *words: str) -> None:
        """Assert that it was refused in one line that has these words."""
        assert self.code == REFUSED, (self.out, self.err)
        assert self.err.startswith("batchyard: ")
        assert self.err.count("\n") == 1
        for word in words:
            assert word in self.err


class Yard:
    """A server, its database, and a team with a token."""

    def __init__(self, loop: asyncio.AbstractEventLoop, db: Database) -> None:
        self.db = db
        self.url = ""
        self._loop = loop
        self.team: Team
        self.token = ""

    def do(self, coroutine: Coroutine[Any, Any, Told]) -> Told:
        """Do something in the server's loop, where its database is."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def new_team(self) -> None:
        """Speak for another team from now on, which has nothing."""
        self.team = self.do(make_team(self.db))
        self.token = self.do(make_token(self.db, team=self.team))

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the settings by which commands find the server."""
        return {"BATCHYARD_URL": self.url, "BATCHYARD_TOKEN": self.token, **settings}

    def run(self, *arguments: object, stdin: str = "", **settings: str) -> Said:
        """Run a command in this process, as `batchyard.cli.entry` does; nobody can be asked."""
        result = CliRunner().invoke(
            app,
            [str(argument) for argument in arguments],
            input=stdin,
            env={"COLUMNS": "200", "XDG_CONFIG_HOME": "/nowhere", **self.environment(**settings)},
        )
        code, err = result.exit_code, result.stderr
        if isinstance(result.exception, BatchyardError):
            code, err = REFUSED, f"{err}batchyard: {result.exception.message}\n"
        elif result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(code=code, out=result.stdout, err=err)


@contextmanager
def yard(database_url: str, *, folder: Path) -> Iterator[Yard]:
    """Lend a server with a worker whose sandbox answers at once."""
    config = Config(
        intake_processes=0,
        sandbox_speed=0,
        data_dir=folder,
        bolna_schedule_step_minutes=0,
        secret_key="a key of these tests, long enough",
    )
    begun = threading.Event()
    made: list[Yard] = []
    stop = asyncio.Event()

    async def serve() -> None:
        db = Database(database_url)
        await db.open()
        one = Yard(asyncio.get_running_loop(), db)
        made.append(one)
        worker = asyncio.create_task(work(config, db, stop))
        async with serving(db, config) as url:
            one.url = url
            begun.set()
            await stop.wait()
        await worker
        await db.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert begun.wait(60)
    (one,) = made
    one.new_team()
    try:
        yield one
    finally:
        one._loop.call_soon_threadsafe(stop.set)
        thread.join(60)
