"""The short form of `make chaos`, and a restore from a backup older than the last effects."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import psycopg
import pytest

from batchyard.models import Kind, Policy
from tests.chaos.judge import OPEN_BATCHES, judge
from tests.chaos.plan import short_form
from tests.chaos.processes import BATCHYARD
from tests.chaos.run import run, scratch
from tests.chaos.watch import Watch, opened
from tests.chaos.yard import Yard, answers, build

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

ASKED = (Policy.REPEATABLE, Policy.ASKABLE)
"""Of one that is neither, what was told after the backup is lost with it: an hour's wait."""
ITEMS = 60
END_SECONDS = 120.0


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch() as folder:
        yield folder


async def test_no_promise_is_broken_by_ten_kills(folder: Path) -> None:
    # Other tests run beside it, so that even an answer that nothing held up may take seconds.
    outcome = await run(replace(short_form(), patience=3, timeout_seconds=8), folder)

    assert not outcome.verdict.broken
    assert not outcome.killer.steps_missed
    assert outcome.killer.kills.total() >= short_form().kills
    assert outcome.verdict.items.total() >= short_form().items


async def test_restored_backup_has_no_second_effect(folder: Path) -> None:
    yard = await build(replace(short_form(), workers=1, seed=3), folder)
    watch = Watch(url=yard.url)
    try:
        for policy, kind in product(ASKED, Kind):
            await yard.make_batch(policy, kind, items=ITEMS)
        await until(yard, "SELECT coalesce(sum(n), 0) > 30 FROM batch_counts WHERE phase = 'done'")
        dump = folder / "dump"
        await asyncio.to_thread(yard.postgres.dump, "yard", dump)
        await until(yard, f"SELECT ({OPEN_BATCHES}) = 0")
        before = await effects(yard)

        await replace_by(yard, dump)
        async with opened(yard.url) as eye:
            n = (await eye.insist(OPEN_BATCHES))[0][0]
        assert isinstance(n, int)
        assert n > 0
        said = command(yard, "restored")
        assert f"paused now: {n}." in said
        for program in yard.programs:
            program.start()
        await answers(yard.server_url, first=yard.server)
        for policy in ASKED:
            token = command(yard, "token", "create", "--team", yard.teams[policy].slug).strip()
            server = {"BATCHYARD_URL": yard.server_url, "BATCHYARD_TOKEN": token}
            command(yard, "resume", "--all-restored", **server)
        await until(yard, f"SELECT ({OPEN_BATCHES}) = 0")
        verdict = await judge(yard, watch)

        assert verdict.doubled == {policy: [] for policy in Policy}
        assert verdict.lost == []
        assert verdict.contradicted == []
        assert sum(before.values()) > 0
        assert verdict.effects["askable"] >= before["askable"]
    finally:
        await yard.close()


async def replace_by(yard: Yard, dump: Path) -> None:
    """Stop everything, and put the backup in the place of the database."""
    for program in yard.programs:
        program.kill()
    await yard.db.close()
    with psycopg.connect(yard.postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE yard WITH (FORCE)")
    yard.postgres.create("yard")
    await asyncio.to_thread(yard.postgres.restore, "yard", dump)


async def effects(yard: Yard) -> dict[str, int]:
    """Count what the outside world did, by policy."""
    deeds = (await yard.read_ledger())["deeds"]
    assert isinstance(deeds, dict)
    counted = dict.fromkeys(map(str, Policy), 0)
    for deed in deeds.values():
        counted[deed["policy"]] += deed["effects"]
    return counted


def command(yard: Yard, *words: str, **settings: str) -> str:
    """Run a command on the yard's database, or with these settings at its server."""
    ended = subprocess.run(
        [BATCHYARD, *words],
        env={**os.environ, **yard.settings, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


async def until(yard: Yard, query: str) -> None:
    """Wait until a query answers true."""
    async with opened(yard.url) as eye, asyncio.timeout(END_SECONDS):
        while not (await eye.insist(query))[0][0]:
            await asyncio.sleep(0.1)
