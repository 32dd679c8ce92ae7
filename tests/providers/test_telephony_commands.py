"""`provider add` and `provider test` over fakes: the mode is shown, what cannot work is said."""

from collections.abc import Callable

import pytest

from batchyard.operations import machine_checks
from tests.cli.commands import call_here, call_with_input
from tests.cli.stored import KEY
from tests.cli.test_commands import assert_one_line
from tests.cli.test_terminal import Terminal
from tests.providers.fakes.process import Fake
from tests.providers.fakes.telnyx_legs import API_KEY, CONNECTION, PUBLIC_KEY
from tests.providers.fakes.twilio_calls import ACCOUNT, TEST_ACCOUNT, TEST_TOKEN, TOKEN

Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(database_url: str) -> Say:
    """Run `batchyard provider ...` here; return its exit code, and what it printed."""
    settings = {"BATCHYARD_DATABASE_URL": database_url, "BATCHYARD_SECRET_KEY": KEY}

    def run(*arguments: str, text: str = "") -> tuple[int, str]:
        result = call_here("provider", *arguments, text=text, **settings)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert TOKEN not in result.output
        assert API_KEY not in result.output
        return result.exit_code, result.output

    return run


def add(name: str, kind: str, url: str) -> tuple[str, ...]:
    common = ("--kind", kind, "--allow-private", "--base-url", url, "--say", "Hi.")
    return ("add", name, *common, "--secret-file", "-")


def test_live_mode_version_and_clock_are_shown(say: Say, telnyx_server: Fake) -> None:
    telnyx_server.change()
    settings = ("--public-key", PUBLIC_KEY, "--connection-id", CONNECTION)
    code, said = say(*add("phone", "telnyx", f"{telnyx_server.url}/v2"), *settings, text=API_KEY)
    assert code == 0
    assert "Note: LIVE: calls reach real people" in said
    code, said = say("test", "phone")
    assert (code, said.splitlines()) == (
        0,
        [
            "phone can be used.",
            "Note: LIVE: calls reach real people, and are charged; Telnyx has no test keys.",
            f"Note: Telnyx API v2, at {telnyx_server.url}/v2.",
            "Note: Clock: no difference that matters.",
        ],
    )


def test_callbacks_that_cannot_come_are_said(
    say: Say, twilio_server: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    twilio_server.change()
    account = ("--account-sid", ACCOUNT)
    say(*add("phone", "twilio", twilio_server.url), *account, text=TOKEN)
    monkeypatch.setattr(machine_checks, "_is_elsewhere", lambda _row: True)
    code, said = say("test", "phone")
    assert code == 0
    assert "Note: phone cannot reach http://127.0.0.1:" in said


def test_wrong_credentials_and_a_foreign_number_are_said(say: Say, twilio_server: Fake) -> None:
    twilio_server.change()
    account = ("--account-sid", ACCOUNT)
    code, said = say(*add("wrong", "twilio", twilio_server.url), *account, text="wrong")
    assert code == 0
    assert "Authenticate. It is stored all the same" in said
    assert say("test", "wrong") == (1, "wrong: The provider answered 401: Authenticate\n")
    assert say("remove", "wrong")[0] == 0
    foreign = (*account, "--from-number", "+4511223344")
    _, said = say(*add("foreign", "twilio", twilio_server.url), *foreign, text=TOKEN)
    assert "+4511223344 neither belongs to the account nor" in said
    assert say("test", "foreign")[0] == 1


@pytest.mark.parametrize(
    "account,token,mode,said",
    [
        (ACCOUNT, TOKEN, "test", "These are LIVE credentials, but mode is test"),
        (TEST_ACCOUNT, TEST_TOKEN, "live", "These are TEST credentials, with which nobody is"),
    ],
)
def test_credentials_of_the_other_mode_store_nothing(
    account: str,
    token: str,
    mode: str,
    said: str,
    *,
    say: Say,
    twilio_server: Fake,
    database_url: str,
) -> None:
    twilio_server.change()
    settings = {"BATCHYARD_DATABASE_URL": database_url, "BATCHYARD_SECRET_KEY": KEY}
    options = ("--account-sid", account, "--mode", mode)
    arguments = ("provider", *add("phone", "twilio", twilio_server.url), *options)
    result = call_with_input(token, *arguments, **settings)
    assert_one_line(result, said)
    assert "phone" not in say("list")[1]


@pytest.mark.parametrize("option", [(), ("--secret-file", "-"), ("--secret-file", "auth_token=-")])
def test_secret_is_asked_for_at_a_terminal_and_not_shown(
    option: tuple[str, ...], say: Say, twilio_server: Fake, database_url: str
) -> None:
    twilio_server.change()
    arguments = add("phone", "twilio", twilio_server.url)[:-2]
    settings = {"BATCHYARD_DATABASE_URL": database_url, "BATCHYARD_SECRET_KEY": KEY}

    asked = Terminal(
        *("provider", *arguments, "--account-sid", ACCOUNT, *option), settings=settings
    )
    asked.wait_for("auth token: ")
    asked.press(f"{TOKEN}\n")

    assert asked.end() == 0, asked.said
    assert TOKEN not in asked.said
    # What was typed is the secret: with it the account answers.
    assert say("test", "phone")[0] == 0
