"""`batchyard token` and `batchyard team list`: made with limits, listed, revoked."""

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from subprocess import CompletedProcess

import pytest

from batchyard.models import Team
from batchyard.operations import access
from batchyard.store.db import Database
from tests import factories
from tests.cli.commands import call
from tests.cli.stored import read
from tests.cli.test_commands import assert_one_line

Run = Callable[..., CompletedProcess[str]]
Say = Callable[..., str]
TEAM = ("--team", "nord")

pytestmark = pytest.mark.usefixtures("team")


@pytest.fixture
async def team(db: Database) -> Team:
    return await factories.make_team(db, slug="nord", locale="da", timezone="Europe/Copenhagen")


@pytest.fixture
def run(database_url: str) -> Run:
    """Run a command on the database."""
    return partial(call, BATCHYARD_DATABASE_URL=database_url, COLUMNS="200")


@pytest.fixture
def say(run: Run) -> Say:
    """Run a command that must succeed; return what it printed."""

    def said(*arguments: str) -> str:
        result = run(*arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return said


def listed(say: Say) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(say("token", "list", *TEAM, "--json"))
    return rows


async def test_token_may_what_its_scopes_say_until_it_expires(db: Database, say: Say) -> None:
    scopes = ("--scope", "batches:read", "--scope", "webhooks")
    text = say("token", "create", *TEAM, "--name", "export", *scopes, "--expires", "30d").strip()

    principal = await access.authenticate(db, token=text)
    assert principal is not None
    assert principal.team.slug == "nord"
    assert principal.scopes == frozenset({"batches:read", "webhooks"})
    [row] = listed(say)
    assert (row["name"], row["scopes"]) == ("export", ["batches:read", "webhooks"])
    left = await read(db, "SELECT expires_at - created_at FROM tokens")
    assert isinstance(left, timedelta)
    assert abs(left - timedelta(days=30)) < timedelta(minutes=1)
    assert "hash" not in row
    assert text not in json.dumps(row)
    await read(db, "UPDATE tokens SET expires_at = created_at RETURNING id")
    assert await access.authenticate(db, token=text) is None
    assert "expired" in say("token", "list", *TEAM)


def test_token_ends_at_the_time_it_is_told(say: Say) -> None:
    say("token", "create", *TEAM, "--expires", "2999-01-29T08:30:00+01:00")

    assert listed(say)[0]["expires_at"] == "2999-01-29T07:30:00+00:00"
    assert "in use until 2999-01-29" in say("token", "list", *TEAM)


async def test_token_is_revoked_for_its_team_only(db: Database, run: Run, say: Say) -> None:
    text = say("token", "create", *TEAM).strip()
    say("token", "create", *TEAM, "--name", "other")
    await factories.make_team(db, slug="syd")
    number = str(listed(say)[-1]["id"])
    assert listed(say)[-1]["scopes"] == ["admin"]

    foreign = run("token", "revoke", number, "--team", "syd")
    assert_one_line(foreign, f"no token {number} in use")
    assert await access.authenticate(db, token=text) is not None

    assert say("token", "revoke", number, *TEAM) == f"The token {number} is revoked.\n"

    assert await access.authenticate(db, token=text) is None
    states = [row["revoked_at"] is not None for row in listed(say)]
    assert states == [False, True]
    assert "revoked" in say("token", "list", *TEAM).splitlines()[-1]
    assert_one_line(run("token", "revoke", number, *TEAM), f"no token {number} in use")


async def test_tokens_leave_traces_without_their_text(db: Database, say: Say) -> None:
    text = say("token", "create", *TEAM, "--name", "export", "--scope", "audit:read").strip()
    say("token", "revoke", str(listed(say)[0]["id"]), *TEAM)

    traces = await read(
        db, "SELECT jsonb_agg(jsonb_build_array(actor, action, after) ORDER BY id) FROM audit_log"
    )
    assert isinstance(traces, list)
    assert [(actor.partition(":")[0], action) for actor, action, _ in traces] == [
        ("cli", "team.create"),
        ("cli", "token.create"),
        ("cli", "token.revoke"),
    ]
    assert traces[1][2]["scopes"] == ["audit:read"]
    assert text not in json.dumps(traces)


@pytest.mark.parametrize(
    "options,words",
    [
        (("--scope", "everything"), ("'everything'", "batches:read")),
        (("--expires", "2020-01-01T00:00:00Z"), ("has passed",)),
        (("--expires", "soon"), ("'soon'",)),
        (("--expires", "9999999d"), ("9999999d", "too far away")),
        (("--expires", "9999-12-31T23:59:59-01:00"), ("'9999-12-31T23:59:59-01:00'",)),
    ],
)
def test_token_that_would_be_of_no_use_ends_in_one_line(
    run: Run, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_one_line(run("token", "create", *TEAM, *options), *words)


def test_teams_are_listed(say: Say) -> None:
    rows = json.loads(say("team", "list", "--json"))

    assert [row["slug"] for row in rows] == ["default", "nord"]
    assert rows[1] == {
        **rows[1],
        "name": "Nord",
        "locale": "da",
        "timezone": "Europe/Copenhagen",
        "weight": 1,
    }
    assert "id" not in rows[1]
    table = say("team", "list").splitlines()
    assert table[0].split()[:2] == ["slug", "name"]
    assert table[2].split()[:4] == ["nord", "Nord", "da", "Europe/Copenhagen"]
