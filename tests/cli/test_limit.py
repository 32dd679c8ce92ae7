"""`batchyard limit`: set, listed, replaced, refused."""

import json

from batchyard.store.db import Database
from tests.cli.commands import call
from tests.cli.stored import default_team, make_ready, read
from tests.cli.test_commands import assert_one_line


def limits(url: str) -> dict[str, dict[str, object]]:
    result = call("limit", "list", "--json", BATCHYARD_DATABASE_URL=url)
    assert result.returncode == 0, result.stderr
    return {str(one.pop("key")): one for one in json.loads(result.stdout)}


async def test_limits_are_set_listed_and_replaced(db: Database, database_url: str) -> None:
    team = await default_team(db)
    batch_id = await make_ready(db, team=team)
    for scope, options in (
        ("team:default", ("--concurrency", "200", "--weight", "3")),
        ("provider:sandbox", ("--rate", "5/s", "--rate", "10000/day")),
        (f"batch:{batch_id}", ("--rate", "100/min", "--burst", "10")),
    ):
        result = call("limit", "set", scope, *options, BATCHYARD_DATABASE_URL=database_url)
        assert (result.returncode, result.stdout) == (0, f"The limits of {scope} are set.\n")

    assert limits(database_url) == {
        f"team:{team.id}": {"concurrency": 200, "rates": []},
        "provider:1": {
            "concurrency": None,
            "rates": [{"count": 5, "seconds": 1}, {"count": 10_000, "seconds": 86_400}],
        },
        f"batch:{batch_id}": {"concurrency": None, "rates": [{"count": 100, "seconds": 60}]},
    }
    assert await read(db, "SELECT weight FROM teams WHERE id = %s", team.id) == 3
    assert await read(db, "SELECT burst FROM rates WHERE seconds = 60") == 10
    table = call("limit", "list", BATCHYARD_DATABASE_URL=database_url)
    row = next(row for row in table.stdout.splitlines() if row.startswith("provider:1 "))
    assert row.endswith("5/s, 10000/day")

    replaced = call(
        *("limit", "set", "provider:sandbox", "--rate", "100/s", "--rate", "50/min"),
        BATCHYARD_DATABASE_URL=database_url,
    )
    assert "50 in 60 s wins over 100 in 1 s" in replaced.stderr
    assert limits(database_url)["provider:1"]["rates"] == [
        {"count": 100, "seconds": 1},
        {"count": 50, "seconds": 60},
    ]


async def test_limit_that_makes_no_sense_is_refused(db: Database, database_url: str) -> None:
    await default_team(db)
    for arguments, words in (
        (("planet:earth", "--concurrency", "3"), ("'planet:earth' is no scope", "team:SLUG")),
        (("batch:nonsense", "--concurrency", "3"), ("does not name an id",)),
        (("team:nobody", "--concurrency", "3"), ("no team 'nobody'",)),
        (("team:default", "--concurrency", "0"), ("concurrency must be 1 or more",)),
        (("team:default", "--weight", "0"), ("weight must be 1 or more",)),
        (("team:default", "--concurrency", "3000000000"), ("1,000,000 at most",)),
        (("team:default", "--weight", "3000000000"), ("1,000,000 at most",)),
        (("team:default", "--rate", "2000000/s"), ("1,000,000 items at most",)),
        (("provider:sandbox", "--weight", "2"), ("Only a team has a weight",)),
        (("provider:sandbox", "--rate", "0/s"), ("'0/s' is no rate",)),
        (("provider:sandbox", "--burst", "5"), ("belongs to a rate",)),
        (("provider:sandbox", "--rate", "5/s", "--rate", "9/s"), ("contradict each other",)),
    ):
        result = call("limit", "set", *arguments, BATCHYARD_DATABASE_URL=database_url)
        assert_one_line(result, *words)
    assert limits(database_url) == {}
