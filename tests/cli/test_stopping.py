"""How long processes take to stop, and what becomes of the work they had out."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

import orjson
import pytest

from batchyard.cli import services
from batchyard.config import Config
from batchyard.encryption import Vault
from batchyard.models import Kind, Policy
from batchyard.operations.providers import add_provider, set_route
from batchyard.operations.teams import find_team
from batchyard.store import embedded, watcher
from batchyard.store.db import Database
from batchyard.testing import Arrived, HttpServer, Line
from tests.cli.commands import Process, call_here, running, running_changed
from tests.engine.conftest import Yard, make_team
from tests.waiting import wait_until

STOP_SECONDS = 8.0
"""Longer than a machine stands still: what is released must be answered in this time."""
OUT = 20
"""How many items the provider takes at once."""
ITEMS = 60

HANG_SECONDS = 60
"""So long the provider is waited for, longer than any of these tests takes."""

END_SECONDS = 5
"""Within this time Ctrl-C ends what runs at a terminal."""

DATABASE_SECONDS = 15
"""Within so much more the private PostgreSQL is gone too."""

LEEWAY_SECONDS = 6
"""More than users have to wait, for a machine that is busy with other tests."""

unhurried = partial(
    running_changed,
    f"from batchyard.cli import services\nservices.LEEWAY_SECONDS = {LEEWAY_SECONDS}",
)
"""Let a busy machine take its time for the end itself; it comes in good order, or not at all."""


@pytest.mark.parametrize(
    "command,given,expected",
    [
        ("up", {}, 4),
        ("demo", {}, 4),
        ("worker", {}, 10),
        ("serve", {}, 10),
        ("up", {"BATCHYARD_STOP_SECONDS": "7"}, 7),
        ("demo", {"BATCHYARD_STOP_SECONDS": "7"}, 7),
        ("worker", {"BATCHYARD_STOP_SECONDS": "7"}, 7),
    ],
)
def test_time_to_stop_is_four_seconds_at_a_terminal_and_ten_elsewhere(
    command: str,
    given: dict[str, str],
    expected: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[Config] = []
    monkeypatch.setattr(services, "run", lambda settings, _: begun.append(settings))
    monkeypatch.delenv("BATCHYARD_STOP_SECONDS", raising=False)
    port = () if command == "worker" else ("--port", "0")

    result = call_here(command, *port, "--data-dir", str(tmp_path / "data"), **given)

    assert result.exit_code == 0, result.output
    assert [settings.stop_seconds for settings in begun] == [expected]


def test_end_at_a_terminal_is_bounded_whatever_hangs() -> None:
    whole = services.TERMINAL_STOP_SECONDS + services.LEEWAY_SECONDS + services.LAST_RESORT_SECONDS
    assert whole < END_SECONDS


def test_private_database_ends_soon_after_its_last_user() -> None:
    whole = embedded.IDLE_SECONDS + watcher.LOOK_SECONDS + watcher.STOP_TIMEOUT_SECONDS
    assert whole < DATABASE_SECONDS


class Carrier:
    """Books each shipment, and answers some at once, some when released, some never."""

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        self.hung = 0
        self.released = asyncio.Event()
        self.is_quick = False

    async def take(self, arrived: Arrived, line: Line) -> None:
        """Serve one request."""
        if arrived.method == "GET":
            key = arrived.path.rpartition("/")[2]
            is_known = self.effects[key] > 0
            await line.reply(200 if is_known else 404, b'{"status": "booked"}' if is_known else b"")
            return
        self.effects[arrived.headers["idempotency-key"]] += 1
        if not self.is_quick:
            if orjson.loads(arrived.body)["payload"]["n"] % 5 == 0:
                self.hung += 1
                await line.hang()
            await self.released.wait()
        await line.reply(200, b'{"status": "booked"}')


@pytest.fixture
async def yard(db: Database) -> Yard:
    return Yard(db, await make_team(db))


@asynccontextmanager
async def loaded(
    yard: Yard,
    log: Path,
    *,
    begin: Callable[..., AbstractContextManager[Process]] = running,
    **settings: str,
) -> AsyncIterator[tuple[Process, Carrier]]:
    """Lend a worker with as much out as its carrier takes, and more that waits."""
    carrier = Carrier()
    async with HttpServer(carrier.take) as server:
        await lead_to(yard, server.url)
        await yard.make_batch(items=ITEMS)
        with begin("worker", log=log, BATCHYARD_DATABASE_URL=yard.db.url, **settings) as worker:
            async with asyncio.timeout(30):
                while carrier.effects.total() < OUT:  # noqa: ASYNC110  # it sends no signal
                    await asyncio.sleep(0.02)
            yield worker, carrier


async def lead_to(yard: Yard, url: str) -> None:
    await add_provider(
        yard.db,
        Vault(None),
        name="carrier",
        kind="http",
        settings={
            "url": f"{url}/do",
            "result_url": f"{url}/results",
            "policy": Policy.ASKABLE,
            "timeout_seconds": HANG_SECONDS,
            "concurrency": OUT,
        },
        secret=None,
        allow_private=True,
    )
    slug = str(await yard.value("SELECT slug FROM teams WHERE id = %s", [yard.team_id]))
    team = await find_team(yard.db, slug_or_uuid=slug)
    assert team is not None
    await set_route(yard.db, team=team, kind=Kind.SHIPMENT, agent_id=None, provider="carrier")


async def until_stopping(log: Path) -> None:
    await asyncio.to_thread(wait_until, lambda: "process.stopping" in log.read_text())


async def phases(yard: Yard) -> dict[str, int]:
    found = await yard.value(
        "SELECT jsonb_object_agg(phase, n) FROM"
        " (SELECT phase, count(*) AS n FROM items GROUP BY phase) AS p"
    )
    assert isinstance(found, dict)
    return found


@pytest.mark.acceptance
async def test_worker_told_to_stop_finishes_what_is_out_and_leaves_the_rest(
    yard: Yard, tmp_path: Path
) -> None:
    log, given = tmp_path / "log", {"BATCHYARD_STOP_SECONDS": str(STOP_SECONDS)}
    async with loaded(yard, log, begin=unhurried, **given) as (worker, carrier):
        asked_at = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        await until_stopping(log)
        carrier.released.set()
        # It does not wait for what hangs.
        assert await asyncio.to_thread(worker.wait, STOP_SECONDS + LEEWAY_SECONDS + 2) == 0, (
            log.read_text()
        )
        assert time.monotonic() - asked_at >= STOP_SECONDS
        assert 0 < carrier.hung < OUT
        # Nothing was begun after the signal, though others had ended and made room.
        assert carrier.effects.total() == OUT
        assert await phases(yard) == {
            "done": OUT - carrier.hung,
            "calling": carrier.hung,
            "ready": ITEMS - OUT,
        }

        carrier.is_quick = True
        # Here nobody waits until the requests that hang can no longer arrive.
        async with yard.db.transaction() as conn:
            await conn.execute("UPDATE items SET deadline_at = now() WHERE phase = 'calling'")
        with running(
            "worker", log=tmp_path / "next", BATCHYARD_DATABASE_URL=yard.db.url
        ) as following:
            batch_id = await yard.value("SELECT id FROM batches")
            assert isinstance(batch_id, UUID)
            assert await yard.until_ended(batch_id, seconds=40) == "completed"
            assert following.poll() is None
        assert await yard.counts(batch_id) == {"booked": ITEMS}
        assert len(carrier.effects) == ITEMS
        assert set(carrier.effects.values()) == {1}


@pytest.mark.acceptance
async def test_second_signal_ends_a_loaded_worker_at_once(yard: Yard, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with loaded(yard, log, BATCHYARD_STOP_SECONDS="300") as (worker, carrier):
        worker.send_signal(signal.SIGTERM)
        await until_stopping(log)
        assert worker.poll() is None
        worker.send_signal(signal.SIGTERM)
        # Long before the time it has to stop.
        assert await asyncio.to_thread(worker.wait, HANG_SECONDS / 2) == 1
        assert await phases(yard) == {"calling": OUT, "ready": ITEMS - OUT}
        assert carrier.effects.total() == OUT
