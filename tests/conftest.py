"""Fixtures every test may ask for: a private PostgreSQL, and a fresh database of it per test."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from uuid import uuid4

import psycopg
import pytest
import structlog
from hypothesis import HealthCheck, settings
from psycopg import sql

from batchyard.store import programs
from batchyard.store.cluster import setup_options
from batchyard.store.db import Database
from batchyard.store.migrate import migrate
from tests import browsers
from tests.folders import make_folder
from tests.ports import kept_port

PG_VERSION = int(os.environ.get("BATCHYARD_TEST_PG") or 18)
TEMPLATE = "batchyard_template"

# How long an example takes says something of the machine, not of the product.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# The usual tracebacks of `structlog` show every variable, which takes seconds for each fault.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ],
    # What a server logs beside a command that runs in this process is not the command's output.
    logger_factory=structlog.PrintLoggerFactory(sys.__stderr__),
)

# Without fsync a test database costs little; tests that prove durability start their own server.
SERVER_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "300",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
    "autovacuum_naptime": "5s",
}


class PrivatePostgres:
    """A PostgreSQL in a temporary folder, ended with the test run."""

    def __init__(self) -> None:
        self.folder = make_folder()
        self.programs = programs.find(PG_VERSION, spare_folder=self.folder / "programs")
        user = programs.server_user()
        self.user = user.pw_uid if user else None
        if user is not None:
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self._initialise()
        self._start()
        try:
            migrate(self._prepare_template())
        except BaseException:
            self.stop()
            raise

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def stop(self) -> None:
        self._server.send_signal(signal.SIGINT)
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait()
        shutil.rmtree(self.folder)

    def _initialise(self) -> None:
        command = [str(self.programs / "initdb"), "-D", "data", "-U", "postgres", "--no-sync"]
        subprocess.run(
            [*command, *setup_options(PG_VERSION)],
            user=self.user,
            cwd=self.folder,
            check=True,
            capture_output=True,
        )

    def _start(self) -> None:
        settings = [f"--{name}={value}" for name, value in SERVER_SETTINGS.items()]
        with (self.folder / "log").open("wb") as log:
            self._server = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", "data", "-k", str(self.folder), *settings],
                user=self.user,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # no thread runs yet
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.05)
            else:
                return

    def _prepare_template(self) -> str:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        return self.url(TEMPLATE)


def _die_with_parent() -> None:
    """Let Linux stop the server when the test run is killed; elsewhere it stays."""
    with suppress(OSError, AttributeError):
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGINT)


_shared: list[PrivatePostgres] = []
"""The server of this run; with pytest-xdist the controller's, used by all workers."""


def pytest_report_header() -> str | None:
    """Say what is missing, so that nobody takes tests that were left out for tests that passed."""
    return None if browsers.find() else browsers.MISSING


def pytest_configure_node(node: object) -> None:
    """Start the server with the first worker and tell each where it is."""
    if not _shared:
        _shared.append(PrivatePostgres())
    node.workerinput["postgres_folder"] = str(_shared[0].folder)  # type: ignore[attr-defined]


def pytest_unconfigure() -> None:
    """Stop the server, if this process started it."""
    while _shared:
        _shared.pop().stop()


@pytest.fixture(scope="session")
def postgres_folder(request: pytest.FixtureRequest) -> str:
    """Return the folder of the test server's socket; starts the server when first asked."""
    workerinput = getattr(request.config, "workerinput", None)
    if workerinput is not None:
        return str(workerinput["postgres_folder"])
    if not _shared:
        _shared.append(PrivatePostgres())
    return str(_shared[0].folder)


@pytest.fixture
def empty_database_url(postgres_folder: str) -> Iterator[str]:
    """Lend an empty database."""
    yield from lend_database(postgres_folder, template="template1")


@pytest.fixture
def database_url(postgres_folder: str) -> Iterator[str]:
    """Lend a migrated database."""
    yield from lend_database(postgres_folder)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """Lend a migrated database, open."""
    database = Database(database_url)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def port() -> Iterator[int]:
    """Lend a port for a server that is started more than once."""
    with kept_port() as port:
        yield port


_returned: list[sql.Identifier] = []
"""Databases to drop later: one whose connections are just ending costs a tenth of a second."""


def lend_database(folder: str, *, template: str = TEMPLATE) -> Iterator[str]:
    """Lend a database of the server in this folder, made after a template."""
    name = sql.Identifier(f"test_{uuid4().hex}")
    admin_url = f"postgresql://postgres@/postgres?host={folder}"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        while _returned:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(_returned.pop()))
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                name, sql.Identifier(template)
            )
        )
    yield f"postgresql://postgres@/{name.as_string().strip(chr(34))}?host={folder}"
    _returned.append(name)
