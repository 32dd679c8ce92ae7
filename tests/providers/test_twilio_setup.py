"""How the twilio provider is set up, and what it proves before anybody is called."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest

from batchyard.errors import ConfigError, ProviderError
from batchyard.models import Ended, Policy, Rate, Refused
from batchyard.providers.twilio import TwilioProvider
from batchyard.providers.twilio_settings import TwilioSettings
from tests.providers.fakes.process import Fake
from tests.providers.fakes.twilio_calls import (
    KEY_SECRET,
    KEY_SID,
    OWNED,
    TEST_ACCOUNT,
    TEST_TOKEN,
    TOKEN,
    VERIFIED,
)
from tests.providers.requests import make_call
from tests.providers.twilio_surroundings import make_provider


@pytest.fixture
def fake(twilio_server: Fake) -> Iterator[Fake]:
    """Lend the fake with a clean ledger; afterwards nobody may have broken the rules."""
    twilio_server.change(step_seconds=60)
    yield twilio_server
    assert twilio_server.violations() == []


@pytest.fixture
async def provider(fake: Fake) -> AsyncIterator[TwilioProvider]:
    provider = make_provider(fake)
    yield provider
    await provider.close()


async def test_live_credentials_call_nobody_where_tests_are_meant(fake: Fake) -> None:
    provider = make_provider(fake, mode="test")
    answer = await provider.send(make_call())
    assert isinstance(answer, Refused)
    assert answer.stops_provider
    assert "LIVE credentials" in answer.message
    with pytest.raises(ConfigError, match="LIVE credentials"):
        await provider.check()
    await provider.close()
    assert fake.per_item() == {}


async def test_test_credentials_end_a_call_at_once(fake: Fake) -> None:
    secret = json.dumps({"auth_token": TEST_TOKEN})
    provider = make_provider(fake, mode="test", account_sid=TEST_ACCOUNT, secret=secret)
    answer = await provider.send(make_call())
    assert isinstance(answer, Ended)
    assert answer.status == "completed"
    assert (await provider.check())[0].startswith("TEST credentials")
    await provider.close()
    live = make_provider(fake, account_sid=TEST_ACCOUNT, secret=secret)
    with pytest.raises(ConfigError, match="TEST credentials"):
        await live.check()
    await live.close()


async def test_check_says_whose_calls_these_are(provider: TwilioProvider, fake: Fake) -> None:
    said = await provider.check()
    assert said[0].startswith("LIVE: calls reach real people")
    assert said[1:] == [
        f"Twilio API 2010-04-01, at {fake.url}.",
        f"{OWNED} belongs to the account.",
        "Clock: no difference that matters.",
    ]
    verified = make_provider(fake, from_number=VERIFIED)
    assert f"{VERIFIED} is a verified caller." in await verified.check()
    await verified.close()
    foreign = make_provider(fake, from_number="+4511223344")
    with pytest.raises(ProviderError, match="neither belongs to the account"):
        await foreign.check()
    await foreign.close()
    wrong = make_provider(fake, secret='{"auth_token": "wrong"}')
    with pytest.raises(ProviderError, match="Authenticate"):
        await wrong.check()
    await wrong.close()


@pytest.mark.parametrize(
    "token,key,fault",
    [
        (TOKEN, KEY_SECRET, None),
        (TOKEN, "wrong", "The API key is not taken for calls. .*401: Authenticate"),
        ("wrong", KEY_SECRET, "^The provider answered 401: Authenticate"),
    ],
)
async def test_check_proves_the_api_key_and_the_token_each_by_what_it_may_see(
    token: str, key: str, fault: str | None, fake: Fake
) -> None:
    secret = json.dumps({"auth_token": token, "api_key_secret": key})
    provider = make_provider(fake, api_key_sid=KEY_SID, secret=secret)
    if fault is None:
        assert (await provider.check())[0].startswith("LIVE: calls reach real people")
    else:
        with pytest.raises(ProviderError, match=fault):
            await provider.check()
    await provider.close()


async def test_live_api_key_is_not_proven_a_test_by_the_token_beside_it(fake: Fake) -> None:
    secret = json.dumps({"auth_token": TEST_TOKEN, "api_key_secret": KEY_SECRET})
    provider = make_provider(
        fake, mode="test", account_sid=TEST_ACCOUNT, api_key_sid=KEY_SID, secret=secret
    )
    answer = await provider.send(make_call())
    await provider.close()
    assert isinstance(answer, Refused)
    assert answer.code == "not_proven"


async def test_settings_make_promise_and_pace(provider: TwilioProvider, fake: Fake) -> None:
    assert provider.promise.policy is Policy.ASKABLE
    assert provider.promise.is_exclusive_per_number
    assert not provider.promise.is_one_sided
    careful = make_provider(fake, resend_unlisted=False)
    assert careful.promise.is_one_sided
    await careful.close()
    defaults = TwilioSettings.model_validate({"account_sid": TEST_ACCOUNT, "say": "Hello."})
    assert [look.total_seconds() for look in defaults.promise.looks] == [30, 120, 600]
    assert defaults.rate == Rate(count=54, seconds=60)


@pytest.mark.parametrize(
    "changes,fault",
    [
        ({"account_sid": "AC1"}, "account_sid"),
        ({"say": None}, "say: give it or url"),
        ({"url": "https://x.example/"}, "say: give it or url"),
        ({"say": "Hi {"}, "say: "),
        ({"from_number": "20123456"}, "from_number"),
        ({"look_after_seconds": [60, 30]}, "each look must come later"),
        ({"calls_per_second": 0}, "calls_per_second"),
        ({"colour": "red"}, "colour"),
        ({"api_key_sid": "SK" + "1" * 32}, "api_key_secret"),
    ],
)
def test_wrong_setting_is_named(changes: dict[str, object], fault: str, fake: Fake) -> None:
    with pytest.raises(ConfigError, match=fault):
        make_provider(fake, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("secret", ["", "x", "{}", '{"auth_token": ""}', '{"token": "t"}'])
def test_wrong_secret_is_named(secret: str, fake: Fake) -> None:
    with pytest.raises(ConfigError, match="wrong secrets"):
        make_provider(fake, secret=secret)
