import json

import pytest

from batchyard.cli import values
from batchyard.errors import InvalidRequest
from batchyard.store.db import Database
from tests.cli.commands import call
from tests.cli.test_commands import assert_one_line


def rules(url: str, *arguments: str) -> dict[str, object]:
    result = call(
        "team", "rules", "--team", "default", "--json", *arguments, BATCHYARD_DATABASE_URL=url
    )
    assert result.returncode == 0, result.stderr
    held: dict[str, object] = json.loads(result.stdout)
    return held


async def test_rules_are_set_one_by_one_and_shown(db: Database, database_url: str) -> None:
    del db
    off = rules(database_url)
    assert off == {
        "attempts_per_day": None,
        "attempts_per_week": None,
        "countries": None,
        "refuses_premium": False,
        "days": [1, 2, 3, 4, 5, 6, 7],
        "holidays": [],
        "fallback_zone": None,
    }
    rules(database_url, "--per-day", "2", "--countries", "dk,se", "--no-premium")
    held = rules(
        database_url,
        *("--days", "mon-fri", "--holidays", "2026-12-25,2026-12-24", "--per-week", "5"),
        *("--fallback-zone", "Europe/Copenhagen"),
    )
    assert held == {
        "attempts_per_day": 2,
        "attempts_per_week": 5,
        "countries": ["DK", "SE"],
        "refuses_premium": True,
        "days": [1, 2, 3, 4, 5],
        "holidays": ["2026-12-24", "2026-12-25"],
        "fallback_zone": "Europe/Copenhagen",
    }
    shown = call("team", "rules", "--team", "default", BATCHYARD_DATABASE_URL=database_url)
    assert "mon,tue,wed,thu,fri" in shown.stdout
    assert (
        rules(
            database_url,
            *("--per-day", "off", "--per-week", "off", "--countries", "all", "--premium"),
            *("--days", "all", "--holidays", "none", "--fallback-zone", "none"),
        )
        == off
    )


async def test_rules_that_make_no_sense_end_in_one_line(db: Database, database_url: str) -> None:
    del db
    base = ("team", "rules", "--team", "default")
    for arguments, words in (
        (("--per-day", "0"), ("'0'", "above zero")),
        (("--countries", "ATLANTIS"), ("ATLANTIS",)),
        (("--days", "fri-mon"), ("ends before it starts",)),
        (("--fallback-zone", "Mars/Olympus"), ("Mars/Olympus", "Europe/Copenhagen")),
        (("--team", "nobody"), ("'nobody'",)),
    ):
        assert_one_line(call(*base, *arguments, BATCHYARD_DATABASE_URL=database_url), *words)


@pytest.mark.parametrize(
    "text,days",
    [
        ("mon-fri", {1, 2, 3, 4, 5}),
        ("mon,wed", {1, 3}),
        ("Sat-Sun, tue", {2, 6, 7}),
        ("all", {1, 2, 3, 4, 5, 6, 7}),
    ],
)
def test_days_are_read(text: str, days: set[int]) -> None:
    assert values.read_days(text) == days


@pytest.mark.parametrize("text", ["", "monday", "mon-", "-fri", "fri-mon", "mon,,tue"])
def test_days_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        values.read_days(text)


@pytest.mark.parametrize("text", ["2026-13-01", "soon", "", "2026-12-24,"])
def test_dates_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        values.read_dates(text)
