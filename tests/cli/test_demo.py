"""`batchyard demo`, run as a user runs it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

import httpx
import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from batchyard.cli.demo import check_routes
from batchyard.cli.demo_lists import AGENT_ID
from batchyard.errors import ConfigError
from batchyard.models import Kind
from batchyard.operations.agents import use_agent
from batchyard.operations.providers import set_route
from batchyard.store.db import Database
from tests.cli.stored import add_http, default_team, read
from tests.factories import make_agent, make_team
from tests.folders import make_folder
from tests.waiting import wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

SERVING = "Serving until Ctrl-C."
RUN_SECONDS = 100
"""A demo that takes longer hangs."""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    folder = make_folder()
    yield folder / "data"
    wait_until(lambda: is_removed(folder))


@contextmanager
def demo(
    data_dir: Path, *options: str, database_url: str | None = None
) -> Iterator[subprocess.Popen[str]]:
    program = Path(sys.executable).parent / "batchyard"
    with subprocess.Popen(
        [str(program), "demo", "--port=0", f"--data-dir={data_dir}", *options],
        env=environment(database_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def environment(database_url: str | None) -> Mapping[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("BATCHYARD_")
    }
    ours = {
        "PYTHONUNBUFFERED": "1",
        "BATCHYARD_SANDBOX_SPEED": "300",
        # A busy machine may take its time; what users are promised is held by `test_stopping`.
        "BATCHYARD_STOP_SECONDS": "60",
        "BATCHYARD_PG_VERSION": os.environ.get("BATCHYARD_TEST_PG", ""),
    }
    return {**inherited, **ours, "BATCHYARD_DATABASE_URL": database_url or ""}


def working_in(folder: Path) -> set[psutil.Process]:
    found = set()
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
        if any(str(folder) in word for word in words):
            found.add(process)
    return found


def is_removed(folder: Path) -> bool:
    """Remove a folder and whoever still works in it; an interrupted start cleans up meanwhile."""
    for process in working_in(folder):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    said = ""
    # Killed when it hangs: then the lines end, and what it said is shown.
    watchdog = threading.Timer(RUN_SECONDS, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            said += line
            if text in line:
                return said
    finally:
        watchdog.cancel()
    raise AssertionError(f"ended without {text!r}: {said}")


def interrupt(process: subprocess.Popen[str]) -> str:
    """Press Ctrl-C and return what it said until its end."""
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    return said


def lists_in(said: str) -> tuple[list[dict[str, object]], dict[str, object]]:
    """Return what both lists answered."""
    answers = re.findall(r"^GET \S+\n([\[{].*?^[\]}])", said, re.DOTALL | re.MULTILINE)
    calls, shipments = (json.loads(answer) for answer in answers)
    return calls, shipments


def test_demo_accounts_for_every_row_and_keeps_its_data_when_interrupted(
    data_dir: Path,
) -> None:
    with demo(data_dir) as process:
        said = read_until(process, SERVING)
        commands = re.findall(r"curl -H \"Authorization: Bearer (\S+)\" (\S+)", said)
        answers = [
            httpx.get(address, headers={"Authorization": f"Bearer {token}"}, timeout=30)
            for token, address in commands
        ]
        interrupt(process)
    token_file = data_dir / "demo-token"

    assert [answer.status_code for answer in answers] == [200, 200]
    assert process.returncode == 0
    assert token_file.stat().st_mode & 0o777 == 0o600
    assert {token for token, _ in commands} == {token_file.read_text().strip()}

    with demo(data_dir, "--exit") as again:
        said, _ = again.communicate(timeout=RUN_SECONDS)
    calls, shipments = lists_in(said)
    assert again.returncode == 0, said
    check_that_every_row_is_accounted_for(said)
    assert len(calls) == 2
    assert shipments["meta"] == {**answers[1].json()["meta"], "total": 2, "to": 2, "per_page": 3}


def check_that_every_row_is_accounted_for(said: str) -> None:
    calls, shipments = lists_in(said)
    batch = calls[0]
    assert batch["status"] == "executed"
    assert batch["total_contacts"] == 1000
    assert isinstance(batch["execution_status"], dict)
    assert sum(batch["execution_status"].values()) == batch["valid_contacts"]
    refused = re.findall(r"^│ +\d+ │.*│ phone_\w+ +│", said, re.MULTILINE)
    assert batch["valid_contacts"] == 1000 - len(refused)
    data = shipments["data"]
    assert isinstance(data, list)
    assert data[0]["state"] == "completed"
    assert data[0]["total_count"] == 200
    assert data[0]["completed_count"] + data[0]["failed_count"] == 200


@pytest.mark.parametrize("moment", ["Starting PostgreSQL", "Serving on"])
def test_demo_ends_soon_after_an_interrupt_at_any_moment(data_dir: Path, moment: str) -> None:
    with demo(data_dir) as process:
        read_until(process, moment)
        rest = interrupt(process)

    assert process.returncode in (0, 130)
    assert "Traceback" not in rest


def test_demo_interrupted_while_it_works_leaves_no_process_behind(data_dir: Path) -> None:
    with demo(data_dir) as process:
        read_until(process, "Calls, through")
        ours = psutil.Process(process.pid)
        begun = set(ours.children(recursive=True))
        of_postgres = working_in(data_dir) - {ours}
        interrupt(process)
        assert of_postgres

    assert process.returncode == 0
    assert not any(map(runs, begun - of_postgres))
    # PostgreSQL follows, by its watcher.
    wait_until(lambda: not any(map(runs, begun | of_postgres | working_in(data_dir))))


def runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def test_demo_starts_again_after_all_were_killed(data_dir: Path, database_url: str) -> None:
    with demo(data_dir, database_url=database_url) as process:
        read_until(process, "Calls, through")
        process.kill()

    with demo(data_dir, "--exit", database_url=database_url) as again:
        said, _ = again.communicate(timeout=RUN_SECONDS)

    assert again.returncode == 0, said
    calls, _ = lists_in(said)
    assert len(calls) == 2


def test_demo_says_where_a_token_is_kept_that_was_revoked(
    data_dir: Path, database_url: str
) -> None:
    with demo(data_dir, "--exit", database_url=database_url) as first:
        first.communicate(timeout=RUN_SECONDS)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE tokens SET revoked_at = now() WHERE name = 'demo'")
    with demo(data_dir, "--exit", database_url=database_url) as second:
        said, _ = second.communicate(timeout=RUN_SECONDS)

    assert second.returncode == 2
    assert str(data_dir / "demo-token") in said
    assert "Traceback" not in said


def test_demo_says_in_one_line_that_the_port_is_taken(data_dir: Path, database_url: str) -> None:
    with demo(data_dir, database_url=database_url) as first:
        said = read_until(first, "Serving on")
        port = said.rsplit(":", 1)[-1].strip()
        with demo(data_dir, f"--port={port}", database_url=database_url) as second:
            said, _ = second.communicate(timeout=60)

    assert second.returncode == 2
    assert said.count("\n") == 1
    assert port in said


async def test_demo_loads_nothing_that_a_real_provider_would_do(
    db: Database, data_dir: Path, database_url: str
) -> None:
    await add_http(db, "carrier")
    await set_route(
        db, team=await default_team(db), kind=Kind.SHIPMENT, agent_id=None, provider="carrier"
    )

    with demo(data_dir, "--exit", database_url=database_url) as process:
        said, _ = process.communicate(timeout=RUN_SECONDS)

    assert process.returncode == 2, said
    (line,) = [line for line in said.splitlines() if line.startswith("batchyard: ")]
    assert said.endswith(f"{line}\n")
    for words in ("shipment", "'carrier'", "--data-dir", "BATCHYARD_DATABASE_URL"):
        assert words in line
    assert await read(db, "SELECT count(*) FROM batches") == 0


async def test_demo_looks_at_the_routes_of_its_own_lists_only(db: Database) -> None:
    team = await default_team(db)
    await add_http(db, "carrier")
    other = await make_agent(db, team=team)
    for whose, agent_id in ((await make_team(db), None), (team, other)):
        await set_route(db, team=whose, kind=Kind.CALL, agent_id=agent_id, provider="carrier")
    await set_route(db, team=team, kind=Kind.CALL, agent_id=None, provider="sandbox")
    await check_routes(db, team=team)

    its_own = UUID(AGENT_ID)
    async with db.transaction() as conn:
        await use_agent(conn, team=team, agent_id=its_own, creates=True, now=db.clock())
    await set_route(db, team=team, kind=Kind.CALL, agent_id=its_own, provider="carrier")

    with pytest.raises(ConfigError, match="each call of team default to 'carrier'"):
        await check_routes(db, team=team)
