"""`batchyard provider change`."""

from pathlib import Path

import pytest

from batchyard.store.db import Database
from tests.cli.commands import call
from tests.cli.stored import KEY, closed_url, read
from tests.cli.test_commands import assert_one_line
from tests.cli.test_provider import SECRET, add, listed

LOCKED = "SELECT secret FROM providers WHERE name = 'carrier'"


def change(url: str, *options: str, key: str = KEY) -> tuple[str, str]:
    result = call(
        *("provider", "change", "carrier", *options),
        BATCHYARD_DATABASE_URL=url,
        BATCHYARD_SECRET_KEY=key,
    )
    assert result.returncode == 0, result.stderr
    assert SECRET not in result.stdout + result.stderr
    return result.stdout, result.stderr


async def test_everything_but_the_kind_is_said_anew(
    db: Database, database_url: str, tmp_path: Path
) -> None:
    url = closed_url()
    add(database_url, "--url", url, "--timeout", "5s", "--rate", "5/s", "--set", "concurrency=2")
    (tmp_path / "secret").write_text(SECRET)

    out, told = change(
        database_url,
        *("--timeout", "20s", "--policy", "repeatable", "--look-up-after", "9s"),
        *("--set", "concurrency=null", "--concurrency", "3", "--allow-private"),
        *("--secret-file", str(tmp_path / "secret")),
    )

    assert out == "The provider carrier is changed.\n"
    assert told.endswith("Next: batchyard provider test carrier\n")
    assert await read(db, LOCKED) is not None
    one = listed(database_url)["carrier"]
    assert one["settings"] == {
        "url": url,
        "policy": "repeatable",
        "timeout_seconds": 20,
        "look_up_after_seconds": 9,
    }
    assert (one["has_secret"], one["allow_private"]) == (True, True)
    assert (one["concurrency"], one["rates"]) == (3, [{"count": 5, "seconds": 1}])


async def test_secret_that_cannot_be_opened_any_more_is_mended(
    db: Database, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    file = ("--secret-file", str(tmp_path / "secret"))
    add(database_url, "--url", closed_url(), *file, BATCHYARD_SECRET_KEY=KEY)
    before = await read(db, LOCKED)
    change(database_url, *file, key="another key, long enough too")
    assert await read(db, LOCKED) != before


def test_provider_that_is_paused_is_said_to_be(database_url: str) -> None:
    add(database_url, "--url", closed_url())
    call("provider", "pause", "carrier", "--reason", "401", BATCHYARD_DATABASE_URL=database_url)
    _, told = change(database_url, "--timeout", "9s")
    assert told.endswith("It is paused: 401\nNext: batchyard provider resume carrier\n")


@pytest.mark.parametrize(
    "options,words",
    [
        ((), ["Say what to change"]),
        (("--colour", "red"), ["no option --colour", "--result-url"]),
        (("--timeout", "0s"), ["timeout_seconds"]),
        (("--rate", "5/s", "--rate", "1000/h"), ["one --rate"]),
        (("--secret-file", "/nowhere"), ["/nowhere"]),
    ],
    ids=" ".join,
)
def test_wrong_change_ends_in_one_line(
    options: tuple[str, ...], words: list[str], database_url: str
) -> None:
    add(database_url, "--url", closed_url())
    result = call("provider", "change", "carrier", *options, BATCHYARD_DATABASE_URL=database_url)
    assert_one_line(result, *words)


def test_provider_that_is_not_there_ends_in_one_line(database_url: str) -> None:
    result = call(
        *("provider", "change", "nobody", "--timeout", "9s"), BATCHYARD_DATABASE_URL=database_url
    )
    assert_one_line(result, "'nobody'")
