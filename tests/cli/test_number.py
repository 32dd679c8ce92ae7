import json
from uuid import uuid4

from batchyard.store.db import Database
from tests.cli.commands import call
from tests.cli.stored import default_team
from tests.cli.test_commands import assert_one_line
from tests.factories import make_agent, make_team


def listed(url: str) -> list[dict[str, str | None]]:
    result = call("number", "list", "--team", "default", "--json", BATCHYARD_DATABASE_URL=url)
    assert result.returncode == 0, result.stderr
    numbers: list[dict[str, str | None]] = json.loads(result.stdout)
    return numbers


async def test_number_is_added_given_to_an_agent_and_removed(
    db: Database, database_url: str
) -> None:
    agent = str(await make_agent(db, team=await default_team(db)))
    for arguments in (
        ("add", "+4520000001", "+4520000002"),
        ("add", "+4520000002", "--agent", agent),
    ):
        result = call(
            "number", *arguments, "--team", "default", BATCHYARD_DATABASE_URL=database_url
        )
        assert result.returncode == 0, result.stderr
    assert listed(database_url) == [
        {"number": "+4520000001", "agent": None},
        {"number": "+4520000002", "agent": agent},
    ]
    table = call("number", "list", "--team", "default", BATCHYARD_DATABASE_URL=database_url)
    assert [line.split()[:2] for line in table.stdout.splitlines()] == [
        ["number", "agent"],
        ["+4520000001", "all"],
        ["+4520000002", agent],
    ]
    remove = ("number", "remove", "+4520000001", "--team", "default")
    assert call(*remove, BATCHYARD_DATABASE_URL=database_url).returncode == 0
    again = call(*remove, BATCHYARD_DATABASE_URL=database_url)
    assert_one_line(again, "no number +4520000001")
    assert [one["number"] for one in listed(database_url)] == ["+4520000002"]


async def test_number_that_is_none_is_refused(db: Database, database_url: str) -> None:
    await default_team(db)
    other = await make_agent(db, team=await make_team(db))
    for arguments, words in (
        (("20123456",), ("20123456", "+4520123456")),
        (("+4520000001", "+45 20"), ("+45 20",)),
        (("+4520000001", "--agent", str(uuid4())), ("no such agent",)),
        (("+4520000001", "--agent", str(other)), ("no such agent",)),
        (("+4520000001", "--team", "nobody"), ("'nobody'",)),
    ):
        base = ("number", "add", "--team", "default")
        assert_one_line(call(*base, *arguments, BATCHYARD_DATABASE_URL=database_url), *words)
    assert listed(database_url) == []
