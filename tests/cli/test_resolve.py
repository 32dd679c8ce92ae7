import json
import os
import pty
import subprocess
from datetime import datetime
from uuid import UUID, uuid4

import pytest

from batchyard.models import BatchState
from batchyard.store.db import Database
from tests.cli.commands import BATCHYARD, call, environment
from tests.cli.stored import default_team, make_unknown, read, statuses, write
from tests.cli.test_commands import assert_one_line
from tests.factories import make_team


def unknown(url: str, *options: str) -> list[dict[str, object]]:
    result = call(*("unknown", "--team", "default", "--json", *options), BATCHYARD_DATABASE_URL=url)
    assert result.returncode == 0, result.stderr
    listed: list[dict[str, object]] = json.loads(result.stdout)
    return listed


def resolve(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return call("resolve", "--team", "default", *options, BATCHYARD_DATABASE_URL=url)


def answer_at_a_terminal(url: str, answer: str, *options: str) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [BATCHYARD, "resolve", "--team", "default", *options],
        env=environment(BATCHYARD_DATABASE_URL=url),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        said, _ = process.communicate(timeout=30)
    os.close(ours)
    return process.returncode, said


async def test_unknown_tells_what_a_person_needs(db: Database, database_url: str) -> None:
    batch_id, (item_id,) = await make_unknown(db, team=await default_team(db))
    await write(db, "UPDATE items SET provider_id = 1")
    await write(
        db,
        "UPDATE item_data SET reference = %s, error_code = 'timeout', error_message = 'No answer'",
        "order\x1b[2J 7",
    )

    (item,) = unknown(database_url)
    table = call("unknown", "--team", "default", BATCHYARD_DATABASE_URL=database_url)

    assert item["batch_id"] == str(batch_id)
    assert item["key"] == f"{item_id}.1"
    assert item["provider"] == "sandbox"
    assert (item["error_code"], item["error_message"]) == ("timeout", "No answer")
    assert datetime.fromisoformat(str(item["since"])).tzinfo is not None
    for word in (str(batch_id), f"{item_id}.1", "sandbox", "timeout: No answer"):
        assert word in table.stdout
    assert "\x1b" not in table.stdout


async def test_unknown_shows_only_the_team_asked_for(db: Database, database_url: str) -> None:
    await make_unknown(db, team=await make_team(db), n=2)
    batch_id, ids = await make_unknown(db, team=await default_team(db), n=3)
    await make_unknown(db, team=await default_team(db), n=1)

    assert len(unknown(database_url)) == 4
    assert {item["item_id"] for item in unknown(database_url, "--batch", str(batch_id))} == {
        str(one) for one in ids
    }
    cut = call(
        *("unknown", "--team", "default", "--limit", "3"), BATCHYARD_DATABASE_URL=database_url
    )
    assert len(cut.stdout.splitlines()) == 4
    assert "1 more" in cut.stderr


@pytest.mark.parametrize(
    "verdict,status,state",
    [
        ("done", "booked", "completed"),
        ("failed", "failed", "failed"),
        ("retry", "retrying", "running"),
    ],
)
async def test_decision_changes_items_counts_and_batch(
    verdict: str, status: str, state: str, db: Database, database_url: str
) -> None:
    team = await default_team(db)
    batch_id, _ = await make_unknown(db, team=team, n=2, state=BatchState.FAILED)

    result = resolve(database_url, "--as", verdict, "--batch", str(batch_id), "--yes")

    assert (result.returncode, result.stdout) == (0, f"Decided as {verdict}: 2 items.\n")
    assert await statuses(db, batch_id) == {status: 2}
    assert await read(db, "SELECT state FROM batches WHERE id = %s", batch_id) == state
    by = await read(db, "SELECT attempts -> 0 ->> 'resolved_by' FROM item_data")
    assert str(by).startswith("cli:")


async def test_decision_about_all_leaves_other_teams_alone(db: Database, database_url: str) -> None:
    other, _ = await make_unknown(db, team=await make_team(db), n=2)
    await make_unknown(db, team=await default_team(db), n=1)
    await make_unknown(db, team=await default_team(db), n=1)

    assert resolve(database_url, "--as", "done", "--all", "--yes").stdout.endswith("2 items.\n")

    assert await statuses(db, other) == {"unknown": 2}


async def test_decision_about_named_items_tells_which_were_not_unknown(
    db: Database, database_url: str
) -> None:
    batch_id, ids = await make_unknown(db, team=await default_team(db), n=3)
    named = [option for one in (ids[0], uuid4()) for option in ("--item", str(one))]

    result = resolve(database_url, "--as", "failed", *named, "--yes")

    assert result.stdout == "Decided as failed: 1 item.\n"
    assert "1 of those named" in result.stderr
    assert await statuses(db, batch_id) == {"unknown": 2, "failed": 1}


async def test_terminal_is_asked_with_the_number(db: Database, database_url: str) -> None:
    batch_id, _ = await make_unknown(db, team=await default_team(db), n=3)
    options = ("--as", "retry", "--all")

    code, said = answer_at_a_terminal(database_url, "n", *options)
    assert code == 1
    assert "3 items of default will be sent again under new keys" in said
    assert "Nothing was changed" in said
    assert await statuses(db, batch_id) == {"unknown": 3}

    code, said = answer_at_a_terminal(database_url, "y", *options)
    assert code == 0
    assert await statuses(db, batch_id) == {"retrying": 3}


async def test_nobody_to_ask_needs_yes(db: Database, database_url: str) -> None:
    batch_id, _ = await make_unknown(db, team=await default_team(db))

    result = resolve(database_url, "--as", "done", "--all")

    assert_one_line(result, "1 item of default", "--yes")
    assert await statuses(db, batch_id) == {"unknown": 1}


@pytest.mark.parametrize(
    "options,words",
    [
        (["--as", "maybe", "--all"], ["'maybe'", "done, failed, retry"]),
        (["--as", "done"], ["--all"]),
        (["--as", "done", "--all", "--batch", str(UUID(int=1))], ["either"]),
        (["--as", "done", "--all", "--team", "nobody"], ["'nobody'"]),
    ],
)
def test_wrong_choice_ends_in_one_line(
    options: list[str], words: list[str], database_url: str
) -> None:
    assert_one_line(resolve(database_url, *options), *words)
