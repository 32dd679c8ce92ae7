import json
from uuid import uuid4

from batchyard.store.db import Database
from tests.cli.commands import call
from tests.cli.stored import add_http, default_team
from tests.cli.test_commands import assert_one_line
from tests.factories import make_agent, make_team


def routes(url: str) -> list[dict[str, str | None]]:
    result = call("route", "list", "--json", BATCHYARD_DATABASE_URL=url)
    assert result.returncode == 0, result.stderr
    listed: list[dict[str, str | None]] = json.loads(result.stdout)
    return listed


async def test_route_is_set_listed_and_replaced(db: Database, database_url: str) -> None:
    await add_http(db, "carrier")
    agent = await make_agent(db, team=await default_team(db))
    for options in (
        ("--kind", "shipment", "--provider", "sandbox"),
        ("--kind", "shipment", "--provider", "carrier"),
        ("--kind", "call", "--agent", str(agent), "--provider", "carrier"),
    ):
        result = call(
            *("route", "set", "--team", "default", *options), BATCHYARD_DATABASE_URL=database_url
        )
        assert result.returncode == 0, result.stderr

    assert routes(database_url) == [
        {"team": "default", "kind": "call", "agent": str(agent), "provider": "carrier"},
        {"team": "default", "kind": "shipment", "agent": None, "provider": "carrier"},
    ]
    table = call("route", "list", BATCHYARD_DATABASE_URL=database_url)
    assert [line.split() for line in table.stdout.splitlines()] == [
        ["team", "kind", "agent", "provider"],
        ["default", "call", str(agent), "carrier"],
        ["default", "shipment", "all", "carrier"],
    ]
    removed = call("provider", "remove", "carrier", BATCHYARD_DATABASE_URL=database_url)
    assert_one_line(removed, "'carrier' is still needed", "batchyard route set")


async def test_route_that_leads_nowhere_is_refused(db: Database, database_url: str) -> None:
    await add_http(db, "carrier")
    other = await make_agent(db, team=await make_team(db))
    base = ("route", "set", "--team", "default", "--provider", "carrier")
    for options, words in (
        (("--kind", "letter"), ("'letter'", "call, shipment")),
        (("--kind", "call", "--provider", "nobody"), ("'nobody'",)),
        (("--kind", "call", "--team", "nobody"), ("'nobody'", "batchyard team create")),
        (("--kind", "call", "--agent", str(uuid4())), ("no such agent",)),
        (("--kind", "call", "--agent", str(other)), ("no such agent",)),
        (("--kind", "shipment", "--agent", str(other)), ("Only calls have an agent",)),
    ):
        assert_one_line(call(*base, *options, BATCHYARD_DATABASE_URL=database_url), *words)

    assert routes(database_url) == []
