"""A PostgreSQL of its own, with the settings of a database that must not lose anything."""

import ctypes
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it carries no types
import psycopg

from batchyard.store import programs
from batchyard.store.cluster import setup_options

VERSION = int(os.environ.get("BATCHYARD_TEST_PG") or 18)
START_SECONDS = 60

# What a careful operator would run: nothing is acknowledged that a power cut could undo.
SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{folder}'
max_connections = 200
fsync = on
synchronous_commit = on
full_page_writes = on
restart_after_crash = on
shared_buffers = 64MB
log_line_prefix = '%m [%p] '
log_min_messages = warning
"""


class Postgres:
    """One server; it can be broken and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self._programs = programs.find(VERSION, spare_folder=folder.parent / "programs")
        self._user = programs.server_user()
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        self._run("initdb", "-D", "data", "-U", "postgres", *setup_options(VERSION))
        with (folder / "data" / "postgresql.conf").open("a") as conf:
            conf.write(SETTINGS.format(folder=folder))

    def url(self, database: str = "yard") -> str:
        """Return the address of a database."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def start(self) -> None:
        """Start the server without waiting until it has recovered; from the main thread only."""
        user = self._user
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", "data"],
                user=None if user is None else user.pw_uid,
                group=None if user is None else user.pw_gid,
                extra_groups=None if user is None else [],
                cwd=self.folder,
                env={"LC_ALL": "C", "PATH": os.defpath},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # nothing here holds locks then
            )

    def create(self, database: str) -> str:
        """Make an empty database; return its address."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}".encode())
        return self.url(database)

    def dump(self, database: str, file: Path) -> None:
        """Back a database up while it is used."""
        file.write_bytes(self._run("pg_dump", "--format=custom", self.url(database)))

    def restore(self, database: str, file: Path) -> None:
        """Fill an empty database from a backup."""
        command = ("pg_restore", "--exit-on-error", "--dbname", self.url(database))
        self._run(*command, given=file.read_bytes())

    def stop_immediately(self) -> None:
        """Stop the server as a power cut would."""
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop", is_checked=False)
        self._server.wait()

    def kill_backend(self, dice: random.Random) -> bool:
        """Kill -9 one backend, after which PostgreSQL recovers as from a crash."""
        with suppress(psutil.Error, OSError, ValueError):
            children = psutil.Process(self._server.pid).children()
            backends = [child for child in children if "[local]" in child.cmdline()[0]]
            if backends:
                dice.choice(backends).send_signal(signal.SIGKILL)
                return True
        return False

    def is_ready(self) -> bool:
        """Tell whether it takes connections."""
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def wait_until_ready(self) -> None:
        """Wait until it takes connections."""
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise TimeoutError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.02)

    def _run(
        self, program: str, *arguments: str, given: bytes = b"", is_checked: bool = True
    ) -> bytes:
        user = self._user
        result = subprocess.run(
            [str(self._programs / program), *arguments],
            user=None if user is None else user.pw_uid,
            group=None if user is None else user.pw_gid,
            extra_groups=None if user is None else [],
            cwd=self.folder,
            env={"LC_ALL": "C", "PATH": os.defpath},
            input=given,
            capture_output=True,
            check=False,
        )
        if is_checked and result.returncode != 0:
            raise RuntimeError(f"{program}: {result.stderr.decode()}")
        return result.stdout


def _die_with_parent() -> None:
    """Let Linux stop the server when the run is killed; elsewhere it stays."""
    with suppress(OSError, AttributeError):
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGQUIT)
