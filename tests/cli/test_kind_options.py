"""Options of a kind are read as its settings take them."""

import pytest
from pydantic import BaseModel

from batchyard.cli.kind_options import option_of, read_options
from batchyard.errors import InvalidRequest
from batchyard.providers.twilio_settings import TwilioSettings


def read(*words: str, model: type[BaseModel] | None = TwilioSettings) -> dict[str, object]:
    return dict(read_options("twilio", model, words))


@pytest.mark.parametrize(
    "words,expected",
    [
        (["--account-sid", "AC1"], {"account_sid": "AC1"}),
        (["--from-number=+4520123456"], {"from_number": "+4520123456"}),
        (["--say", "Hi {first_name}, a=b"], {"say": "Hi {first_name}, a=b"}),
        # Too long for the setting, which says so itself.
        (["--timeout", "2m"], {"timeout_seconds": "2m"}),
        (["--timeout", "20s"], {"timeout_seconds": 20}),
        (["--timeout-seconds", "20"], {"timeout_seconds": 20}),
        (["--calls-per-second", "5"], {"calls_per_second": 5}),
        (["--record"], {"record": True}),
        (["--record=no"], {"record": False}),
        (["--look-after", "30,60,90"], {"look_after_seconds": [30, 60, 90]}),
        (["--look-after", "[5]"], {"look_after_seconds": [5]}),
        (["--record", "--voice", "alice"], {"record": True, "voice": "alice"}),
    ],
)
def test_value_becomes_what_the_setting_holds(
    words: list[str], expected: dict[str, object]
) -> None:
    assert read(*words) == expected


@pytest.mark.parametrize(
    "words,told",
    [
        (["--account"], "Kind 'twilio' has no option --account. It has: --account-sid, "),
        (["stray"], "no option stray"),
        (["--voice"], "--voice needs a value"),
        (["--voice", "--record"], "--voice needs a value"),
    ],
)
def test_option_that_is_none_is_named(words: list[str], told: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(*words)
    assert told in caught.value.message


def test_kind_without_settings_has_no_options() -> None:
    with pytest.raises(InvalidRequest, match="none of its own"):
        read("--x", "1", model=None)


def test_option_is_named_after_its_setting() -> None:
    assert option_of("ask_patience_seconds") == "--ask-patience"
    assert option_of("base_url") == "--base-url"
