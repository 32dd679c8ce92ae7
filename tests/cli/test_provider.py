import base64
import json
import os
import socket
from pathlib import Path

import pytest

from batchyard.store.db import Database
from tests.cli.commands import call, call_with_input
from tests.cli.stored import KEY, closed_url, default_team, make_ready, read, write
from tests.cli.test_commands import assert_one_line

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def add(url: str, *options: str, name: str = "carrier", **settings: str) -> str:
    result = call(
        *("provider", "add", name, "--kind", "http", *options),
        BATCHYARD_DATABASE_URL=url,
        **settings,
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout + result.stderr


def listed(url: str) -> dict[str, dict[str, object]]:
    result = call("provider", "list", "--json", BATCHYARD_DATABASE_URL=url)
    assert result.returncode == 0, result.stderr
    return {one["name"]: one for one in json.loads(result.stdout)}


def test_provider_is_stored_with_everything_that_was_said(database_url: str) -> None:
    url = closed_url()
    options = f"--url {url} --policy askable --result-url {url}/r --timeout 2m --key-ttl 24h"
    more = "--concurrency 7 --rate 100/min --not-done 423,409 --ask-settles-after 0s"

    add(
        database_url,
        *options.split(),
        *more.split(),
        "--allow-private",
        *("--set", "look_up_after_seconds=15"),
    )

    assert listed(database_url)["carrier"] == {
        "name": "carrier",
        "kind": "http",
        "policy": "askable",
        "is_askable": True,
        "fault": None,
        "settings": {
            "url": url,
            "policy": "askable",
            "result_url": f"{url}/r",
            "timeout_seconds": 120,
            "key_ttl_seconds": 86400,
            "not_done": [409, 423],
            "ask_settles_after_seconds": 0,
            "look_up_after_seconds": 15,
        },
        "has_secret": False,
        "allow_private": True,
        "concurrency": 7,
        "rates": [{"count": 100, "seconds": 60}],
        "paused": None,
    }


def test_list_is_a_table_that_is_not_cut(database_url: str) -> None:
    url = closed_url() + "/" + "long" * 40
    add(database_url, "--url", url, "--rate", "1000/h")

    result = call("provider", "list", BATCHYARD_DATABASE_URL=database_url)

    headings, sandbox, carrier = result.stdout.splitlines()
    assert headings.split()[:4] == ["name", "kind", "policy", "url"]
    assert sandbox.split() == ["sandbox", "sandbox", "askable", "no", "no"]
    assert carrier.split() == ["carrier", "http", "neither", url, "no", "no", "1000/h"]


def test_address_that_cannot_be_reached_is_stored_with_a_warning(database_url: str) -> None:
    said = add(database_url, "--url", closed_url(), "--allow-private")

    assert "cannot be reached" in said
    assert "stored all the same" in said
    assert "carrier" in listed(database_url)


def test_private_address_is_not_allowed_unless_said_with_an_own_database(database_url: str) -> None:
    said = add(database_url, "--url", closed_url())

    assert "may not be reached" in said
    assert listed(database_url)["carrier"]["allow_private"] is False


@pytest.mark.parametrize("way", ["file", "standard input"])
async def test_secret_is_stored_encrypted_and_never_shown(
    way: str, db: Database, database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    result = call_with_input(
        "" if way == "file" else f"{SECRET}\n",
        *("provider", "add", "carrier", "--kind", "http", "--url", closed_url()),
        *("--secret-file", str(file) if way == "file" else "-"),
        BATCHYARD_DATABASE_URL=database_url,
        BATCHYARD_SECRET_KEY=KEY,
    )

    assert result.returncode == 0, result.stderr
    assert "No secret" not in result.stderr
    assert SECRET not in result.stdout + result.stderr
    stored = await read(db, "SELECT secret FROM providers WHERE name = 'carrier'")
    assert isinstance(stored, bytes)
    assert SECRET.encode() not in stored
    tested = call(
        *("provider", "list"), BATCHYARD_DATABASE_URL=database_url, BATCHYARD_SECRET_KEY=KEY
    )
    assert tested.stderr == ""
    assert SECRET not in tested.stdout


def test_secret_without_a_key_is_refused(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)

    result = call(
        *("provider", "add", "carrier", "--kind", "http", "--url", closed_url()),
        *("--secret-file", str(tmp_path / "secret")),
        BATCHYARD_DATABASE_URL=database_url,
    )

    assert_one_line(result, "BATCHYARD_SECRET_KEY")
    assert "carrier" not in listed(database_url)


def test_provider_whose_key_is_lost_is_listed_with_the_reason(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    options = ("--url", closed_url(), "--secret-file", str(tmp_path / "secret"))
    add(database_url, *options, BATCHYARD_SECRET_KEY=KEY)

    result = call(
        *("provider", "list"),
        BATCHYARD_DATABASE_URL=database_url,
        BATCHYARD_SECRET_KEY="another key, long enough too",
    )

    assert result.returncode == 0
    assert "carrier" in result.stdout
    assert "carrier cannot be used: A stored secret cannot be read" in result.stderr


@pytest.mark.parametrize(
    "options,words",
    [
        (["--kind", "http", "--policy", "often"], ["'often'", "repeatable, askable, neither"]),
        (["--kind", "pigeon"], ["'pigeon'", "http", "sandbox"]),
        (["--kind", "http"], ["url"]),
        (["--kind", "http", "--rate", "5 a day"], ["'5 a day'", "100/min"]),
        (
            ["--kind", "http", "--rate", "5/s", "--rate", "1000/h"],
            ["one --rate", "batchyard limit set provider:NAME"],
        ),
        (["--kind", "http", "--secret-file", "/nowhere"], ["/nowhere"]),
        (["--kind", "http", "--secret-file", os.devnull], ["empty"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_wrong_option_ends_in_one_line(
    options: list[str], words: list[str], database_url: str
) -> None:
    result = call("provider", "add", "carrier", *options, BATCHYARD_DATABASE_URL=database_url)

    assert_one_line(result, *words)


def test_name_that_is_taken_or_wrong_ends_in_one_line(database_url: str) -> None:
    add(database_url, "--url", closed_url())
    again = ("--kind", "http", "--url", closed_url())

    taken = call("provider", "add", "carrier", *again, BATCHYARD_DATABASE_URL=database_url)
    wrong = call("provider", "add", "My Carrier", *again, BATCHYARD_DATABASE_URL=database_url)

    assert_one_line(taken, "'carrier' exists already")
    assert_one_line(wrong, "small letters")


def test_provider_that_is_removed_is_gone_and_its_name_free(database_url: str) -> None:
    add(database_url, "--url", closed_url())

    result = call("provider", "remove", "carrier", BATCHYARD_DATABASE_URL=database_url)

    assert result.returncode == 0, result.stderr
    assert set(listed(database_url)) == {"sandbox"}
    add(database_url, "--url", closed_url())


async def test_provider_that_is_needed_is_not_removed(db: Database, database_url: str) -> None:
    add(database_url, "--url", closed_url())
    team = await default_team(db)
    await make_ready(db, team=team)
    await write(
        db,
        "UPDATE items SET phase = 'live', status = 'processing', intent_at = now(), "
        "provider_id = (SELECT id FROM providers WHERE name = 'carrier')",
    )

    result = call("provider", "remove", "carrier", BATCHYARD_DATABASE_URL=database_url)

    assert_one_line(result, "still needed")
    assert_one_line(
        call("provider", "remove", "sandbox", BATCHYARD_DATABASE_URL=database_url), "sandbox stays"
    )
    assert_one_line(
        call("provider", "remove", "nobody", BATCHYARD_DATABASE_URL=database_url), "'nobody'"
    )


def test_test_tells_whether_a_provider_can_be_used(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        add(database_url, "--url", url, "--allow-private", name="here")
        here = call("provider", "test", "here", BATCHYARD_DATABASE_URL=database_url)
    gone = call("provider", "test", "here", BATCHYARD_DATABASE_URL=database_url)
    nobody = call("provider", "test", "nobody", BATCHYARD_DATABASE_URL=database_url)

    assert (here.returncode, here.stdout) == (0, "here can be used.\n")
    assert gone.returncode == 1
    assert gone.stderr.startswith("here: ")
    assert "cannot be reached" in gone.stderr
    assert_one_line(nobody, "'nobody'")
