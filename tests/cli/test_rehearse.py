"""`batchyard rehearse`, over HTTP, and `batchyard template`."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from batchyard.models import Kind
from batchyard.operations.providers import set_route
from batchyard.operations.teams import find_team
from batchyard.store.db import Database
from tests.cli.commands import call
from tests.cli.stored import add_http, read
from tests.cli.test_commands import assert_one_line
from tests.cli.yard import Yard
from tests.factories import make_agent, make_team, make_token
from tests.serving import serving


class Shell:
    """Calls commands that speak to a server."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token

    async def call(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end while the server of this test serves."""
        given = {"BATCHYARD_URL": self.url, "BATCHYARD_TOKEN": self.token, **settings}
        return await asyncio.to_thread(call, *arguments, **given)


@pytest.fixture
async def shell(db: Database) -> AsyncIterator[Shell]:
    team = await make_team(db)
    async with serving(db) as url:
        yield Shell(url, await make_token(db, team=team))


@pytest.mark.parametrize("kind,list_", [("call", "calls"), ("shipment", "shipments")])
async def test_template_can_be_rehearsed_as_it_is(
    db: Database, shell: Shell, tmp_path: Path, kind: str, list_: str
) -> None:
    file = tmp_path / "list.csv"
    printed = call("template", list_)
    assert printed.returncode == 0, printed.stderr
    file.write_text(printed.stdout, encoding="utf-8")
    result = await shell.call("rehearse", str(file), "--kind", kind, "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["upload"]["rows"], told["upload"]["accepted"]) == (1, 1)
    assert (told["provider"], told["basis"]) == ("sandbox", "exact")
    assert told["attempts"]["expected"] == 1
    assert await read(db, "SELECT count(*) FROM batches") == 0
    assert await read(db, "SELECT count(*) FROM uploads") == 0


def test_template_of_shipments_can_have_every_column() -> None:
    usual = call("template", "shipments").stdout.splitlines()[0].split(",")
    every = call("template", "shipments", "--every").stdout.splitlines()[0].split(",")
    assert usual == every[: len(usual)]
    assert "parcels.0.items.0.hs_code" in every


async def test_rehearsal_shows_verdicts_duration_and_what_limits(
    shell: Shell, tmp_path: Path
) -> None:
    file = tmp_path / "list.csv"
    file.write_text("Контакт;n\n+4520123456;a\n12;b\n+4520123456;c\n", encoding="cp1251")
    result = await shell.call(
        *("rehearse", str(file), "--map", "Контакт=contact_number", "--encoding", "windows-1251"),
        *("--retry-on", "busy,no-answer", "--retries", "2", "--retry-after", "1h"),
    )
    assert result.returncode == 0, result.stderr
    shown = {
        parts[0]: parts[1].strip()
        for line in result.stdout.splitlines()
        if len(parts := line.strip().split("  ", 1)) == 2
    }
    assert (shown["rows"], shown["accepted"], shown["refused"]) == ("3", "2", "1")
    assert (shown["phone_no_plus"], shown["duplicate_in_file"]) == ("1", "1")
    assert shown["provider"] == "sandbox (exact)"
    assert "No worker is alive now" in result.stderr


def test_rehearsal_reads_a_pipe_and_finds_an_agent_by_its_name(server: Yard) -> None:
    agent = server.do(make_agent(server.db, team=server.team, name="Anna"))
    rows = "contact_number\n+4520123403\n"

    for said in ("Anna", agent):
        told = server.run("rehearse", "-", "--agent", said, "--json", stdin=rows)
        assert told.code == 0, told.err
        assert json.loads(told.out)["upload"]["accepted"] == 1
    server.run("rehearse", "-", "--agent", "Bo", stdin=rows).one_line("no agent 'Bo'", "Anna")


@pytest.mark.parametrize(
    "price,shown",
    [
        ("500,USD", "5.00 (4.90 to 5.10)"),
        ("500,JPY", "500 (490 to 510)"),
        ("500,KWD", "0.500 (0.490 to 0.510)"),
    ],
)
async def test_cost_is_shown_with_the_digits_of_its_currency(
    db: Database, shell: Shell, tmp_path: Path, price: str, shown: str
) -> None:
    await add_http(db, "phone")
    team = await find_team(db, slug_or_uuid=str(await read(db, "SELECT slug FROM teams")))
    assert team is not None
    await set_route(db, team=team, kind=Kind.CALL, agent_id=None, provider="phone")
    file = tmp_path / "list.csv"
    file.write_text("contact_number\n+4520123456\n", encoding="utf-8")
    told = await shell.call(
        "rehearse", str(file), "--price", price, "--failure-rate", "0", "--duration", "1m"
    )
    assert told.returncode == 0, told.stderr
    (line,) = [line for line in told.stdout.splitlines() if line.startswith("cost in")]
    assert line.split("  ", 1)[1].strip() == shown


async def test_rehearsal_that_cannot_be_says_why(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("a,b\n1,2\n", encoding="utf-8")
    cases = (
        ((str(tmp_path / "none.csv"),), ("none.csv", "No such file")),
        ((str(file),), ("no column contact_number",)),
        ((str(file), "--mapping", "crm"), ("no mapping 'crm'",)),
        ((str(file), "--map", "x"), ("'x'",)),
        ((str(file), "--map", "x=contact_number"), ("no column x",)),
        ((str(file), "--encoding", "klingon"), ("'klingon'", "windows-1251")),
        ((str(file), "--price", "much"), ("'much'",)),
        ((str(file), "--at", "noon"), ("'noon'",)),
        ((str(file), "--kind", "letter"), ("'letter'", "call, shipment")),
        ((str(file), "--retry-on", "flying"), ("'flying'", "no-answer")),
    )
    results = await asyncio.gather(*(shell.call("rehearse", *options) for options, _ in cases))
    for result, (_, words) in zip(results, cases, strict=True):
        assert_one_line(result, *words)


async def test_server_or_token_that_is_missing_is_told(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("phone\n+4520123456\n", encoding="utf-8")
    command = ("rehearse", str(file))
    nobody, unknown, nowhere = await asyncio.gather(
        asyncio.to_thread(call, *command, BATCHYARD_URL=shell.url),
        shell.call(*command, BATCHYARD_TOKEN="by_somebody-elses"),
        shell.call(*command, BATCHYARD_URL="http://127.0.0.1:9"),
    )
    assert_one_line(nobody, "neither BATCHYARD_TOKEN nor a login", "batchyard token create")
    assert_one_line(unknown, "does not know the token", "BATCHYARD_TOKEN")
    assert_one_line(nowhere, "No server answers at http://127.0.0.1:9", "batchyard up")


async def test_large_list_that_is_refused_is_not_cut_off(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes(b"name\n" + b"x" * 98 + b"\n" + b"y\n" * 6_000_000)
    assert_one_line(await shell.call("rehearse", str(file)), "no column contact_number")
