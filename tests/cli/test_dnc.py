import json

from batchyard.store.db import Database
from tests.cli.commands import call
from tests.cli.test_commands import assert_one_line

DANE = "+4520123456"


def dnc(url: str, *arguments: str) -> str:
    result = call("dnc", *arguments, "--team", "default", BATCHYARD_DATABASE_URL=url)
    assert result.returncode == 0, result.stderr
    return result.stdout


async def test_number_is_added_listed_and_removed(db: Database, database_url: str) -> None:
    del db
    dnc(database_url, "add", "+45 20 12 34 56", "--reason", "asked us", "--until", "2999-01-01")
    dnc(database_url, "add", "+12125550123")
    assert json.loads(dnc(database_url, "list", "--json")) == [
        {"number": "+12125550123", "until": None, "source": "person", "reason": None},
        {
            "number": DANE,
            "until": "2999-01-01T00:00:00+00:00",
            "source": "person",
            "reason": "asked us",
        },
    ]
    assert "for ever" in dnc(database_url, "list")
    dnc(database_url, "remove", DANE)
    assert [e["number"] for e in json.loads(dnc(database_url, "list", "--json"))] == [
        "+12125550123"
    ]


async def test_wrong_number_or_time_ends_in_one_line(db: Database, database_url: str) -> None:
    del db
    base = ("dnc", "add", "--team", "default")
    for arguments, words in (
        (("20123456",), ("country code",)),
        ((DANE, "--until", "soon"), ("'soon'",)),
        ((DANE, "--until", "2020-01-01"), ("has passed",)),
    ):
        assert_one_line(call(*base, *arguments, BATCHYARD_DATABASE_URL=database_url), *words)
    missing = call("dnc", "remove", DANE, "--team", "default", BATCHYARD_DATABASE_URL=database_url)
    assert_one_line(missing, "not on the do-not-contact list")
    assert json.loads(dnc(database_url, "list", "--json")) == []
