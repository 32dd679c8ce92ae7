"""The private PostgreSQL in its data folder: checks, first setup, settings, its process."""

import ctypes
import hashlib
import locale
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from pwd import struct_passwd
from typing import BinaryIO
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]  # it carries no types

from batchyard.errors import ConfigError
from batchyard.store import programs

SOCKET_PATH_BYTES = 103
"""What every supported system allows for the path of a socket."""

SETTINGS = """\
# Written by Batchyard at each start. Settings of your own go in by ALTER SYSTEM, which wins.
include = 'postgresql/postgresql.conf'

# Reached only through its socket, by those who may enter the socket's folder.
listen_addresses = ''
unix_socket_directories = '{socket_folder}'
unix_socket_permissions = 0700

# Several processes share one server; each takes about twenty connections.
max_connections = 200
# Small enough for any machine; the hot tables are narrow.
shared_buffers = 128MB
# Loads of millions of rows, without a checkpoint every few seconds.
max_wal_size = 2GB
# Queues turn over quickly, so dead rows are looked for more often than each minute.
autovacuum_naptime = 10s
# Data folders are on SSDs nowadays.
random_page_cost = 1.1
# Statements are short; compiling them takes longer than running them.
jit = off
# A forgotten transaction keeps dead rows alive and slows every claim.
idle_in_transaction_session_timeout = 60s
# The log is one file beside the data; only what somebody should read goes there.
logging_collector = off
log_checkpoints = off
log_line_prefix = '%m [%p] '
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Postmaster:
    """A server that runs, by its own `postmaster.pid`."""

    pid: int
    is_ready: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """One private PostgreSQL in one data folder."""

    folder: Path
    version: int

    @property
    def data(self) -> Path:
        """The folder PostgreSQL keeps for itself."""
        return self.folder / "postgresql"

    @property
    def log(self) -> Path:
        """Where the server and its watcher say what went wrong."""
        return self.folder / "postgresql.log"

    @property
    def socket_folder(self) -> Path:
        """The data itself, or a folder with a short name where that path will not do."""
        path = str(self.data)
        fits = len(os.fsencode(path)) + len("/.s.PGSQL.5432") <= SOCKET_PATH_BYTES
        if fits and not set(path) & set(",'\"\\"):
            return self.data
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:10]
        return Path(tempfile.gettempdir()) / f"batchyard-{os.geteuid()}-{digest}"

    @property
    def url(self) -> str:
        """The libpq URL, the same at every start.

        It says also what libpq would else take from the environment, and lead elsewhere.
        """
        folder = quote(str(self.socket_folder), safe="")
        plain = "port=5432&hostaddr=&options=&client_encoding=UTF8"
        return f"postgresql://postgres@/postgres?host={folder}&{plain}"

    def prepare(self) -> None:
        """Make the folder; raise `ConfigError` unless all is there to start a server in it."""
        programs.installation(self.version)
        try:
            is_ours = self.data.exists() or _make(self.folder)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
            if os.geteuid() == 0 and is_ours:
                # The server's user passes through; what is secret in here is closed by itself.
                self.folder.chmod(self.folder.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH)
        except OSError as error:
            raise ConfigError(
                f"The data folder {self.folder} cannot be written: {error.strerror}. "
                "Choose another with --data-dir or BATCHYARD_DATA_DIR."
            ) from error
        self._check_version()
        if os.geteuid() == 0:
            closed = programs.closed_folder(self.folder)
            if closed is not None:
                raise ConfigError(
                    f"As root, PostgreSQL runs as the user {programs.SERVER_USER}, who cannot "
                    f"enter {closed}. Run `chmod o+x {closed}`, or choose another --data-dir."
                )

    def _check_version(self) -> None:
        if (self.folder / "PG_VERSION").exists():
            raise ConfigError(
                f"The folder {self.folder} holds the data of another PostgreSQL. Choose another "
                "with --data-dir, or set BATCHYARD_DATABASE_URL to use that server."
            )
        try:
            found = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(
                f"The data folder {self.folder} cannot be read: {error.strerror}. It was made by "
                "another user; run this as that one, or choose another folder with --data-dir."
            ) from error
        if found != str(self.version):
            known = found.isdecimal() and int(found) in programs.FOLDERS
            cure = f"Set BATCHYARD_PG_VERSION={found}, or choose" if known else "Choose"
            raise ConfigError(
                f"The data folder {self.folder} belongs to PostgreSQL {found}, this run uses "
                f"{self.version}. {cure} another folder with --data-dir."
            )

    def initialise(self) -> None:
        """Set up the data, all or nothing, unless they exist."""
        if self.data.exists():
            return
        fresh = self.folder / "postgresql.new"
        shutil.rmtree(fresh, ignore_errors=True)
        user = programs.server_user()
        _own(fresh, user=user)
        command = [str(self._programs() / "initdb"), "-D", str(fresh), "-U", "postgres"]
        complaint = programs.run(
            [*command, *setup_options(self.version)], user=user, folder=self.folder
        )
        if complaint is not None:
            raise ConfigError(f"PostgreSQL cannot be set up in {self.folder}: {complaint}")
        fresh.rename(self.data)

    def launch(self, *, log: BinaryIO) -> subprocess.Popen[bytes]:
        """Start the server as a child that stops, in good order, when its parent is killed."""
        user = programs.server_user()
        if self.socket_folder != self.data:
            _own(self.socket_folder, user=user)
        settings = self.folder / "batchyard.conf"
        settings.write_text(SETTINGS.format(socket_folder=self.socket_folder))
        settings.chmod(0o644)
        environment = {"LC_ALL": "C", "PATH": os.defpath}
        stale = _recorded_pid(self.data)
        if stale is not None and not self._is_server(stale):
            # The pid of a killed server may be somebody else's by now. This variable names a
            # pid that is no rival; shared memory still shows whether one uses these data.
            environment["PG_GRANDPARENT_PID"] = str(stale)
        return subprocess.Popen(  # noqa: S603  # a program of the wheel
            [
                str(self._programs() / "postgres"),
                f"--config-file={settings}",
                "-D",
                str(self.data),
            ],
            user=None if user is None else user.pw_uid,
            group=None if user is None else user.pw_gid,
            extra_groups=None if user is None else [],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Its own session: Ctrl-C at a terminal is not for it.
            start_new_session=True,
            preexec_fn=_stop_with_parent,  # noqa: PLW1509  # the watcher has one thread
        )

    def find_postmaster(self) -> Postmaster | None:
        """Return the server that runs on these data, if one does."""
        pid = _recorded_pid(self.data)
        if pid is None or not self._is_server(pid):
            return None
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        return Postmaster(pid=pid, is_ready=len(lines) >= 8 and lines[7].strip() == "ready")

    def _is_server(self, pid: int) -> bool:
        """Tell whether a process is our server, and not a later one with its number."""
        try:
            process = psutil.Process(pid)
            return bool(process.name() == "postgres" and Path(process.cwd()).samefile(self.data))
        except (psutil.Error, OSError):
            return False

    def _programs(self) -> Path:
        return programs.find(self.version, spare_folder=self.folder / "programs")


def setup_options(version: int) -> list[str]:
    """Return how the data are set up, by `initdb`."""
    options = ["--auth=trust", "--encoding=UTF8", "--locale=C"]
    # Sorts like C, and knows the letters of the world: who looks for "århus" finds "ÅRHUS".
    if version >= 17:
        return [*options, "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return [*options, f"--lc-ctype={_system_letters()}"]


def _system_letters() -> str:
    """Name the system's locale that knows all letters; C, which knows those of ASCII, for none."""
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        return locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    except locale.Error:
        return "C"
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


def _make(folder: Path) -> bool:
    """Make a folder if need be; tell whether it is new or empty, so that nobody else needs it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return not any(folder.iterdir())


def _own(folder: Path, *, user: struct_passwd | None) -> None:
    """Make a folder that only the server's user may enter."""
    uid = os.geteuid() if user is None else user.pw_uid
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
        raise ConfigError(f"The folder {folder} belongs to somebody else. Remove it.")


def _recorded_pid(data: Path) -> int | None:
    """Read the first line of `postmaster.pid`; it may be half-written or gone."""
    try:
        first = (data / "postmaster.pid").read_text().partition("\n")[0]
    except OSError:
        return None
    return int(first) if first.isdecimal() else None


def _stop_with_parent() -> None:
    """Have Linux stop this process if its parent is killed; elsewhere the next start adopts it."""
    pr_set_pdeathsig = 1
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGINT))
