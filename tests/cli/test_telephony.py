"""Telephony providers by command: settings as options, secrets by file, pause and resume."""

import json
from pathlib import Path

import pytest

from batchyard.errors import BatchyardError
from batchyard.store.db import Database
from tests.cli.commands import call, call_here, call_with_input
from tests.cli.stored import KEY, closed_url, read
from tests.cli.test_commands import assert_one_line
from tests.providers.fakes.twilio_calls import ACCOUNT, TOKEN

GOOD = ("--account-sid", ACCOUNT, "--from-number", "+4570203040", "--say", "Hi {first_name}.")


def add(url: str, name: str, *options: str, text: str = "") -> tuple[int, str]:
    arguments = ("provider", "add", name, "--kind", "twilio", "--allow-private", *options)
    result = call_with_input(text, *arguments, BATCHYARD_DATABASE_URL=url, BATCHYARD_SECRET_KEY=KEY)
    assert "Traceback" not in result.stderr
    assert TOKEN not in result.stdout + result.stderr
    return result.returncode, result.stdout + result.stderr


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


async def test_account_is_stored_with_options_of_its_kind(
    db: Database, database_url: str, token_file: Path
) -> None:
    base = closed_url()
    code, said = add(
        database_url,
        "phone",
        *GOOD,
        *("--base-url", base, "--calls-per-second", "5", "--timeout", "10s", "--record"),
        *("--secret-file", f"auth_token={token_file}"),
    )
    assert code == 0, said
    assert "cannot be reached" in said
    assert await read(db, "SELECT settings FROM providers WHERE name = 'phone'") == {
        "account_sid": ACCOUNT,
        "from_number": "+4570203040",
        "say": "Hi {first_name}.",
        "base_url": base,
        "calls_per_second": 5,
        "timeout_seconds": 10,
        "record": True,
    }
    secret = await read(db, "SELECT secret FROM providers WHERE name = 'phone'")
    assert isinstance(secret, bytes)
    assert TOKEN.encode() not in secret

    code, said = add(
        database_url, "again", *GOOD, "--base-url", base, "--secret-file", "-", text=TOKEN
    )
    assert code == 2
    assert "'phone' has this account_sid already" in said
    assert "make a subaccount" in said


@pytest.mark.parametrize(
    "options,words",
    [
        ((), ["auth_token is needed", "--secret-file auth_token=FILE"]),
        (("--secret-file", "/nowhere"), ["/nowhere"]),
        (("--secret-file", "-", "--colour", "red"), ["no option --colour", "--account-sid"]),
        (("--secret-file", "-", "--from-number", "020"), ["from_number"]),
        (("--secret-file", "-", "--say", "Hi {"), ["say", "character 4"]),
        (("--secret-file", "-", "--url", "ftp://x"), ["url"]),
    ],
    ids=["no secret", "no file", "option", "number", "text", "url"],
)
def test_wrong_option_is_named(
    options: tuple[str, ...], words: list[str], database_url: str
) -> None:
    settings = {"BATCHYARD_DATABASE_URL": database_url, "BATCHYARD_SECRET_KEY": KEY}
    arguments = ("provider", "add", "phone", "--kind", "twilio", *GOOD, *options)
    result = call_here(*arguments, text=TOKEN, **settings)
    assert isinstance(result.exception, BatchyardError)
    assert all(word in result.exception.message for word in words), result.exception.message


def test_callbacks_that_only_this_machine_takes_are_said(
    database_url: str, token_file: Path
) -> None:
    settings = {"BATCHYARD_DATABASE_URL": database_url, "BATCHYARD_SECRET_KEY": KEY}
    options = (*GOOD, "--no-allow-private", "--secret-file", f"auth_token={token_file}")

    def say(name: str, account: str, base: str, **more: str) -> str:
        arguments = ("provider", "add", name, "--kind", "twilio", "--account-sid", account)
        result = call_here(*arguments, *options[2:], "--base-url", base, **settings, **more)
        assert result.exit_code == 0, result.output
        return result.output

    far, here = "http://192.0.2.1:9", closed_url()
    said = say("far", f"AC{'1' * 32}", far)
    assert "Note: far cannot reach http://127.0.0.1:" in said
    assert "Set BATCHYARD_PUBLIC_URL to the address under which others reach this server." in said
    public = {"BATCHYARD_PUBLIC_URL": "https://yard.example"}
    assert "BATCHYARD_PUBLIC_URL" not in say("public", f"AC{'2' * 32}", far, **public)
    assert "BATCHYARD_PUBLIC_URL" not in say("here", f"AC{'3' * 32}", here)


def test_kinds_tell_everything_they_can_be_told() -> None:
    listed = json.loads(call_here("provider", "kinds", "--json").output)
    named = {kind["name"]: kind for kind in listed}
    assert {"http", "sandbox", "telnyx", "twilio"} <= set(named)
    assert [one["name"] for one in named["twilio"]["secrets"]] == ["auth_token", "api_key_secret"]
    shown = call_here("provider", "kinds", "telnyx").output
    assert shown.startswith("telnyx: Calls real people through a Telnyx")
    assert "--public-key" in shown
    assert "api_key" in shown
    assert_one_line(call("provider", "kinds", "pigeon"), "'pigeon'", "twilio")


def test_provider_is_paused_and_resumed(database_url: str) -> None:
    def say(*arguments: str) -> str:
        result = call_here("provider", *arguments, BATCHYARD_DATABASE_URL=database_url)
        assert result.exit_code == 0, result.output
        return result.output

    assert "is paused" in say("pause", "sandbox", "--reason", "maintenance until noon")
    assert "maintenance until noon" in say("list")
    assert "it was paused: maintenance until noon" in say("resume", "sandbox")
    assert "was not paused" in say("resume", "sandbox")
    assert_one_line(
        call("provider", "resume", "nobody", BATCHYARD_DATABASE_URL=database_url), "'nobody'"
    )
