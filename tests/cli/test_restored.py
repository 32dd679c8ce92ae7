import subprocess
from datetime import timedelta
from pathlib import Path

import psycopg

from batchyard.models import BatchState, Kind, Policy
from batchyard.operations.providers import set_route
from batchyard.operations.restore import resume_restored
from batchyard.store.db import Database
from tests.cli.commands import call, running
from tests.cli.stored import (
    KEY,
    add_http,
    default_team,
    make_ready,
    read,
    statuses,
    write,
)
from tests.cli.test_commands import assert_one_line
from tests.factories import make_team
from tests.waiting import wait_until


def restored(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return call("restored", *options, BATCHYARD_DATABASE_URL=url, BATCHYARD_SECRET_KEY=KEY)


async def beat(db: Database, *, ago: timedelta) -> None:
    """Write the trace of a worker that died so long ago."""
    at = db.clock() - ago
    await write(
        db,
        "INSERT INTO workers (host, pid, started_at, beat_at) VALUES ('here', 1, %s, %s)",
        at,
        at,
    )


async def route(db: Database, provider: str, *, kind: Kind = Kind.SHIPMENT) -> None:
    team = await default_team(db)
    await set_route(db, team=team, kind=kind, agent_id=None, provider=provider)


async def test_restore_pauses_batches_and_leaves_what_can_be_asked(
    db: Database, database_url: str
) -> None:
    await beat(db, ago=timedelta(hours=1))
    await add_http(db, "shop", policy=Policy.ASKABLE, result_url="http://127.0.0.1:9/r")
    await add_http(db, "carrier")
    await route(db, "shop")
    batch_id = await make_ready(db, team=await default_team(db), n=3)

    result = restored(database_url)

    assert result.returncode == 0, result.stderr
    assert await statuses(db, batch_id) == {"waiting": 3}
    assert await read(db, "SELECT state FROM batches") == "paused"
    assert "had not ended: 1, paused now: 1" in result.stdout
    assert "became unknown: 0" in result.stdout
    assert "shop: is asked about each key" in result.stdout
    assert "carrier: can neither be asked nor be sent a key again" in result.stdout
    assert "batchyard resume --all-restored" in result.stderr
    assert "batchyard resolve" not in result.stderr


async def test_restore_makes_unknown_what_a_silent_provider_may_have_got(
    db: Database, database_url: str
) -> None:
    await beat(db, ago=timedelta(hours=1))
    await add_http(db, "carrier")
    await route(db, "carrier")
    team = await default_team(db)
    batch_id = await make_ready(db, team=team, n=3)
    of_sandbox = await make_ready(db, team=team, kind=Kind.CALL)

    result = restored(database_url)

    assert "became unknown: 3" in result.stdout
    assert "batchyard resolve" in result.stderr
    assert await statuses(db, batch_id) == {"unknown": 3}
    assert await statuses(db, of_sandbox) == {"waiting": 1}
    query = "SELECT count(*) FROM item_data WHERE error_code = 'restored'"
    assert await read(db, query) == 3
    assert "became unknown: 0" in restored(database_url).stdout


async def test_restore_trusts_a_repeatable_provider_as_long_as_it_remembers(
    db: Database, database_url: str
) -> None:
    await beat(db, ago=timedelta(hours=2))
    await add_http(db, "forgetful", policy=Policy.REPEATABLE, key_ttl_seconds=3600)
    await add_http(db, "steady", policy=Policy.REPEATABLE, key_ttl_seconds=86400)
    await route(db, "forgetful")
    await route(db, "steady", kind=Kind.CALL)
    team = await default_team(db)
    forgotten = await make_ready(db, team=team)
    remembered = await make_ready(db, team=team, kind=Kind.CALL)

    result = restored(database_url)

    assert await statuses(db, forgotten) == {"unknown": 1}
    assert await statuses(db, remembered) == {"waiting": 1}
    assert "forgetful: has forgotten keys" in result.stdout
    assert "steady honours a repeated key until" in result.stderr

    assert_one_line(restored(database_url, "--silent", "nobody"), "'nobody'")
    named = restored(database_url, "--silent", "steady")
    assert named.returncode == 0, named.stderr
    assert await statuses(db, remembered) == {"unknown": 1}


async def test_restore_changes_nothing_while_a_provider_cannot_be_opened(
    db: Database, database_url: str
) -> None:
    await add_http(db, "carrier")
    await route(db, "carrier")
    await write(db, "UPDATE providers SET secret = 'locked' WHERE name = 'carrier'")
    batch_id = await make_ready(db, team=await default_team(db))

    assert_one_line(restored(database_url), "'carrier' cannot be opened", "--silent carrier")
    assert await statuses(db, batch_id) == {"waiting": 1}

    given_up = restored(database_url, "--silent", "carrier")
    assert given_up.returncode == 0, given_up.stderr
    assert await statuses(db, batch_id) == {"unknown": 1}


async def test_restore_waits_for_no_worker_that_only_the_backup_remembers(
    db: Database, database_url: str
) -> None:
    await beat(db, ago=timedelta(0))

    assert restored(database_url).returncode == 0


def test_restore_refuses_while_a_worker_runs(database_url: str, tmp_path: Path) -> None:
    def is_working() -> bool:
        with psycopg.connect(database_url) as connection:
            return connection.execute("SELECT FROM workers").rowcount == 1

    with running("worker", log=tmp_path / "log", BATCHYARD_DATABASE_URL=database_url):
        wait_until(is_working)
        refused = restored(database_url)
        forced = restored(database_url, "--force")

    assert_one_line(refused, "A worker runs", "--force")
    assert forced.returncode == 0, forced.stderr


async def test_what_the_restore_paused_goes_on(db: Database, database_url: str) -> None:
    team = await default_team(db)
    was_running = await make_ready(db, team=team)
    single = await make_ready(db, team=team, kind=Kind.CALL, is_single=True)
    was_paused = await make_ready(db, team=team, state=BatchState.PAUSED)
    other = await make_ready(db, team=await make_team(db))
    assert restored(database_url).returncode == 0

    assert set(await resume_restored(db, team=team)) == {was_running, single}

    query = "SELECT state FROM batches WHERE id = %s"
    assert await read(db, query, was_running) == "running"
    assert await read(db, query, was_paused) == "paused"
    assert await read(db, query, other) == "paused"
    assert await read(db, "SELECT wake_at <= now() FROM wakes WHERE team_id = %s", team.id)
