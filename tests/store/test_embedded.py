import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from batchyard.errors import ConfigError
from batchyard.store import embedded, programs
from batchyard.store.cluster import Cluster
from tests.folders import make_folder
from tests.waiting import wait_until

VERSION = int(os.environ.get("BATCHYARD_TEST_PG") or 18)
IDLE_SECONDS = 1.0

HOLDER = """
import sys
from pathlib import Path
from batchyard.store import embedded
server = embedded.start(Path(sys.argv[1]), pg_version=int(sys.argv[2]), idle_seconds=1.0)
print(server.url, flush=True)
sys.stdin.read()
server.release()
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    folder = make_folder()
    yield folder / "data"
    kill_all(folder / "data")
    shutil.rmtree(folder)


@contextmanager
def held(data_dir: Path, *, idle_seconds: float = IDLE_SECONDS) -> Iterator[embedded.PrivateServer]:
    server = embedded.start(data_dir, pg_version=VERSION, idle_seconds=idle_seconds)
    try:
        yield server
    finally:
        server.release()


@contextmanager
def holder_process(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(data_dir), str(VERSION)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ask(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def server_pid(data_dir: Path) -> int | None:
    found = Cluster(folder=data_dir, version=VERSION).find_postmaster()
    return found.pid if found else None


def watchers(data_dir: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "batchyard.store.watcher" in (process.info["cmdline"] or ())
        and str(data_dir) in process.info["cmdline"]
    ]


def kill_all(data_dir: Path) -> None:
    for watcher in watchers(data_dir):
        with suppress(psutil.NoSuchProcess):
            watcher.kill()
    pid = server_pid(data_dir)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: server_pid(data_dir) is None)


def start_and_kill(data_dir: Path, *statements: str) -> None:
    with holder_process(data_dir) as holder:
        url = url_of(holder)
        for statement in statements:
            ask(url, statement)
        # Its user would start the server again, and once it is gone the server is ended in order.
        holder.send_signal(signal.SIGSTOP)
        kill_all(data_dir)
        holder.kill()
        holder.wait()


def test_start_on_a_new_folder_sets_up_a_durable_server(data_dir: Path) -> None:
    with held(data_dir) as server:
        assert ask(server.url, "SHOW fsync") == "on"
        assert ask(server.url, "SHOW listen_addresses") == ""
        assert ask(server.url, "SHOW max_connections") == "200"
        assert int(str(ask(server.url, "SHOW server_version_num"))) // 10000 == VERSION


def test_start_again_keeps_server_and_data(data_dir: Path) -> None:
    with held(data_dir, idle_seconds=60) as server:
        ask(server.url, "CREATE TABLE kept AS SELECT 42 AS n")
        pid = server_pid(data_dir)

    with held(data_dir) as server:
        assert server_pid(data_dir) == pid
        assert ask(server.url, "SELECT n FROM kept") == 42


def test_server_without_users_stops_and_starts_warm(data_dir: Path) -> None:
    with held(data_dir) as server:
        ask(server.url, "CREATE TABLE kept AS SELECT 42 AS n")

    wait_until(lambda: server_pid(data_dir) is None and not watchers(data_dir))

    with held(data_dir) as server:
        assert ask(server.url, "SELECT n FROM kept") == 42


def test_server_runs_as_long_as_one_user_is_left(data_dir: Path) -> None:
    with held(data_dir) as server, holder_process(data_dir) as other:
        url_of(other)
        pid = server_pid(data_dir)
        other.kill()
        other.wait()
        # Twice the idle time, measured by the server itself.
        ask(server.url, f"SELECT pg_sleep({2 * IDLE_SECONDS})")
        assert server_pid(data_dir) == pid


def test_starts_at_the_same_moment_share_one_server(data_dir: Path) -> None:
    with ExitStack() as stack:
        holders = [stack.enter_context(holder_process(data_dir)) for _ in range(4)]
        urls = {url_of(holder) for holder in holders}
        assert len(urls) == 1
        assert len(watchers(data_dir)) == 1
        assert ask(urls.pop(), "SELECT 1") == 1


def test_server_is_not_in_the_terminals_session(data_dir: Path) -> None:
    with held(data_dir):
        pid = server_pid(data_dir)
        assert pid is not None
        assert os.getsid(pid) == pid
        assert all(os.getsid(watcher.pid) != os.getsid(0) for watcher in watchers(data_dir))


def test_holder_killed_lets_the_server_stop(data_dir: Path) -> None:
    with holder_process(data_dir) as holder:
        url_of(holder)
        holder.kill()
        holder.wait()

    wait_until(lambda: server_pid(data_dir) is None and not watchers(data_dir))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_every_process_of_ours_killed_leaves_no_server(data_dir: Path) -> None:
    with holder_process(data_dir) as holder:
        url_of(holder)
        holder.kill()
        for watcher in watchers(data_dir):
            watcher.kill()

    wait_until(lambda: server_pid(data_dir) is None)


def test_everything_killed_starts_again_with_its_data(data_dir: Path) -> None:
    start_and_kill(data_dir, "CREATE TABLE kept AS SELECT 42 AS n")

    with held(data_dir) as server:
        assert ask(server.url, "SELECT n FROM kept") == 42


def test_server_killed_comes_back_for_its_users(data_dir: Path) -> None:
    with held(data_dir) as server:
        pid = server_pid(data_dir)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: server_pid(data_dir) not in {None, pid})
        wait_until(lambda: can_connect(server.url))


def test_watcher_killed_comes_back_for_its_users(data_dir: Path) -> None:
    with held(data_dir) as server:
        (watcher,) = watchers(data_dir)
        watcher.kill()
        wait_until(lambda: watchers(data_dir) and can_connect(server.url))


def can_connect(url: str) -> bool:
    try:
        return ask(url, "SELECT 1") == 1
    except psycopg.OperationalError:
        return False


def test_pid_of_a_killed_server_taken_by_another_process_is_no_obstacle(data_dir: Path) -> None:
    start_and_kill(data_dir)
    stale = data_dir / "postgresql" / "postmaster.pid"
    user = programs.server_user()
    # The same user as the server's: only then PostgreSQL itself takes it for a rival.
    with subprocess.Popen(["sleep", "60"], user=user.pw_uid if user else None) as stranger:
        try:
            for lock in (stale, stale.with_name(".s.PGSQL.5432.lock")):
                rest = lock.read_text().partition("\n")[2]
                lock.write_text(f"{stranger.pid}\n{rest}")
            with held(data_dir) as server:
                assert ask(server.url, "SELECT 1") == 1
        finally:
            stranger.kill()


def test_setup_killed_halfway_is_done_anew(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "postgresql.new").mkdir()
    (data_dir / "postgresql.new" / "PG_VERSION").write_text(f"{VERSION}\n")

    with held(data_dir) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_long_folder_name_gets_a_socket_elsewhere(data_dir: Path) -> None:
    folder = data_dir / ("long" * 20)
    data_dir.mkdir(mode=0o755)

    with held(folder) as server:
        assert ask(server.url, "SELECT 1") == 1
        sockets = Cluster(folder=folder, version=VERSION).socket_folder
        assert sockets.stat().st_mode & 0o777 == 0o700

    kill_all(folder)
    shutil.rmtree(sockets)


def test_folder_of_another_major_is_refused(data_dir: Path) -> None:
    start_and_kill(data_dir)
    (data_dir / "postgresql" / "PG_VERSION").write_text("15\n")

    with pytest.raises(ConfigError, match=f"belongs to PostgreSQL 15, this run uses {VERSION}"):
        embedded.start(data_dir, pg_version=VERSION)


def test_folder_of_the_other_carried_major_names_the_setting(data_dir: Path) -> None:
    other = 16 if VERSION == 18 else 18
    (data_dir / "postgresql").mkdir(parents=True)
    (data_dir / "postgresql" / "PG_VERSION").write_text(f"{other}\n")

    with pytest.raises(ConfigError, match=f"Set BATCHYARD_PG_VERSION={other}"):
        embedded.start(data_dir, pg_version=VERSION)


def test_folder_of_a_foreign_server_is_refused(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "PG_VERSION").write_text("18\n")

    with pytest.raises(ConfigError, match="holds the data of another PostgreSQL"):
        embedded.start(data_dir, pg_version=VERSION)


def test_folder_that_cannot_be_written_is_refused(data_dir: Path) -> None:
    data_dir.write_text("a file")

    with pytest.raises(ConfigError, match=r"cannot be written: .*--data-dir"):
        embedded.start(data_dir / "below", pg_version=VERSION)


def test_folder_closed_to_the_servers_user_is_refused(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o700)
    refusal: AbstractContextManager[object] = nullcontext()
    if programs.server_user() is not None:
        refusal = pytest.raises(ConfigError, match=f"chmod o\\+x {data_dir}`")

    with refusal, held(data_dir / "below") as server:
        assert ask(server.url, "SELECT 1") == 1
    kill_all(data_dir / "below")


def test_server_that_does_not_start_shows_its_last_complaint(data_dir: Path) -> None:
    start_and_kill(data_dir, "ALTER SYSTEM SET shared_preload_libraries = 'no_such_library'")

    with pytest.raises(ConfigError, match=r"no_such_library.*postgresql\.log"):
        embedded.start(data_dir, pg_version=VERSION)


def test_platform_without_a_wheel_names_the_way_out(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, programs.WHEEL, None)

    with pytest.raises(ConfigError, match="BATCHYARD_DATABASE_URL"):
        embedded.start(data_dir, pg_version=VERSION)
