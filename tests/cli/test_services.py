import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.cli.commands import Process
from tests.cli.commands import running_afresh as running
from tests.folders import make_folder
from tests.waiting import wait_until

PATIENCE_SECONDS = 60
"""Within five seconds is what users are promised: `test_stopping` holds the times to that."""
UNHURRIED = {"BATCHYARD_STOP_SECONDS": "60"}
"""Let a busy machine take its time for the end itself; it comes in good order, or not at all."""
TOKEN = "by_a-token-of-this-test"
LIST = "/api/v2/team/default/booking-batches"

pytestmark = pytest.mark.acceptance


@pytest.fixture
def data_dir() -> Iterator[Path]:
    folder = make_folder()
    yield folder / "data"
    for process in ours(folder):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: not ours(folder))
    shutil.rmtree(folder)


def ours(folder: Path) -> Sequence[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            in_folder = Path(process.cwd()).is_relative_to(folder)
            if in_folder or any(str(folder) in part for part in process.cmdline()):
                found.append(process)
    return found


def events(log: Path) -> list[dict[str, object]]:
    # The last line may be half-written.
    lines = log.read_text().rpartition("\n")[0].splitlines()
    return [json.loads(line) for line in lines]


def address(log: Path, process: Process) -> str:
    def told() -> list[dict[str, object]]:
        assert process.poll() is None, log.read_text()
        return [event for event in events(log) if event["event"] == "server.started"]

    wait_until(told)
    return str(told()[-1]["url"])


def get_list(url: str) -> httpx.Response:
    return httpx.get(url + LIST, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)


def end(process: Process, number: signal.Signals) -> int:
    process.send_signal(number)
    return process.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_serves_until_the_signal(data_dir: Path, tmp_path: Path, number: signal.Signals) -> None:
    log = tmp_path / "log"
    with running(
        *("up", "--port", "0", "--data-dir", str(data_dir)),
        log=log,
        BATCHYARD_BOOTSTRAP_TOKEN=TOKEN,
        **UNHURRIED,
    ) as process:
        answer = get_list(address(log, process))
        assert (answer.status_code, answer.json()["data"]) == (200, [])
        wait_until(lambda: any(event["event"] == "worker.started" for event in events(log)))

        assert end(process, number) == 0

    assert events(log)[-1]["event"] == "process.stopped"


def test_up_stopped_leaves_no_process_behind(data_dir: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = ("up", "--port", "0", "--data-dir", str(data_dir))
    with running(*command, log=log, **UNHURRIED) as process:
        address(log, process)
        end(process, signal.SIGINT)

    # PostgreSQL follows, by its watcher, ten seconds later.
    runs = (data_dir / "postgresql" / "postmaster.pid").exists
    wait_until(lambda: not runs(), timeout_seconds=60)
    wait_until(lambda: not ours(data_dir))


def test_up_killed_starts_again_at_once(data_dir: Path, tmp_path: Path) -> None:
    command = ("up", "--port", "0", "--data-dir", str(data_dir))
    log = tmp_path / "log"
    with running(*command, log=log, BATCHYARD_BOOTSTRAP_TOKEN=TOKEN) as process:
        address(log, process)
        process.kill()
        for other in ours(data_dir):
            with suppress(psutil.NoSuchProcess):
                other.kill()

    with running(*command, log=tmp_path / "log2") as process:
        # The token is kept; the data are.
        assert get_list(address(tmp_path / "log2", process)).status_code == 200


def test_up_without_workers_and_workers_beside_it_share_a_folder(
    data_dir: Path, tmp_path: Path
) -> None:
    server_log, worker_log = tmp_path / "server", tmp_path / "worker"
    folder = ("--data-dir", str(data_dir))
    with (
        running(
            "up", "--workers", "0", "--port", "0", *folder, log=server_log, **UNHURRIED
        ) as server,
        running("worker", *folder, log=worker_log, **UNHURRIED) as worker,
    ):
        address(server_log, server)
        wait_until(
            lambda: any(event["event"] == "worker.started" for event in events(worker_log)),
        )

        assert end(worker, signal.SIGINT) == 0
        assert end(server, signal.SIGINT) == 0

    assert not any(event["event"] == "worker.started" for event in events(server_log))


def test_second_signal_ends_at_once(database_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    given = {"BATCHYARD_DATABASE_URL": database_url, "BATCHYARD_STOP_SECONDS": "300"}
    with running("serve", "--port", "0", log=log, **given) as process:
        url = httpx.URL(address(log, process))
        # A request that never ends keeps the server from stopping for a while.
        with httpx.Client(timeout=30) as client:
            stream = client.stream("POST", f"{url}{LIST}", content=endless(process))
            with suppress(httpx.HTTPError), stream:
                pass
        assert process.wait(PATIENCE_SECONDS) == 1


def endless(process: Process) -> Iterator[bytes]:
    yield b"{"
    process.send_signal(signal.SIGINT)
    while process.poll() is None:
        yield b" "
        os.kill(process.pid, signal.SIGINT)


def loads_libraries(process: Process) -> bool:
    maps = Path(f"/proc/{process.pid}/maps")
    return not maps.exists() or "pydantic_core" in maps.read_text()


def test_interrupt_while_loading_or_starting_shows_no_traceback(
    data_dir: Path, tmp_path: Path
) -> None:
    stages: Sequence[Callable[[Process], bool]] = (
        loads_libraries,
        lambda _: data_dir.exists(),
        lambda process: (
            loads_libraries(process) and (data_dir / "postgresql" / "postmaster.pid").exists()
        ),
    )
    for number, is_reached in enumerate(stages):
        log = tmp_path / f"log{number}"
        command = ("up", "--port", "0", "--data-dir", str(data_dir))
        with running(*command, log=log, **UNHURRIED) as process:
            wait_until(partial(is_reached, process))
            assert end(process, signal.SIGINT) in {0, 130}
        assert "Traceback" not in log.read_text()
