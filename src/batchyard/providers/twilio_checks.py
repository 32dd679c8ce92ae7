"""What can be proven about a Twilio account without any effect."""

from collections.abc import Callable, Mapping
from datetime import datetime

from batchyard.errors import ConfigError, InvalidRequest, ProviderError
from batchyard.providers import results
from batchyard.providers.clock_checks import describe_clock
from batchyard.providers.http_exchange import AnswerLost, NotSent, Reply
from batchyard.providers.twilio_account import API, Account
from batchyard.providers.twilio_answers import TEST_CREDENTIALS_CODE, read_fault
from batchyard.providers.twilio_settings import TwilioSettings


class LiveCredentials(ConfigError):
    """Live credentials where only tests are meant."""


class CredentialsForTests(ConfigError):
    """Test credentials where people are to be called."""


async def prove_test(account: Account) -> None:
    """Return when the credentials are test credentials; raise `LiveCredentials` when they are not.

    Those that calls are placed with: an API key may be live beside an auth token that is not.
    Raises `ProviderError`, `NotSent` or `AnswerLost` when nobody knows.
    """
    reply = await account.get(".json")
    if reply.status == 200:
        raise LiveCredentials(
            "These are LIVE credentials, but mode is test: nothing is sent. Give the test "
            "credentials of Twilio's console, or say --mode live."
        )
    if read_fault(reply).code != TEST_CREDENTIALS_CODE:
        raise ProviderError(read_fault(reply).message)


async def check(
    account: Account, settings: TwilioSettings, *, now: Callable[[], datetime]
) -> list[str]:
    """Check credentials, mode, clock, and that the caller's number belongs to the account.

    Raises `ProviderError` for what cannot work, `LiveCredentials` where tests are meant, and
    `CredentialsForTests` where they are not.
    """
    try:
        if settings.mode == "test":
            await prove_test(account)
            return ["TEST credentials: calls are accepted, nobody is called, no callbacks come."]
        reply = await account.get_itself()
        asked_at = now()
        if reply.status != 200:
            raise _read_refusal(reply)
        if account.has_api_key:
            await _check_key(account)
        remarks = [_describe_account(reply), f"Twilio API {API}, at {settings.base_url}."]
        if settings.from_number is not None:
            remarks.append(await _check_number(account, settings.from_number))
    except (NotSent, AnswerLost) as error:
        raise ProviderError(f"{settings.base_url} cannot be reached: {error.message}") from error
    except InvalidRequest as error:
        raise ProviderError(f"The answer cannot be read: {error.message}") from error
    return [*remarks, describe_clock(reply, now=asked_at)]


def _read_refusal(reply: Reply) -> ConfigError | ProviderError:
    fault = read_fault(reply)
    if fault.code == TEST_CREDENTIALS_CODE:
        return CredentialsForTests(
            "These are TEST credentials, with which nobody is called, but mode is live. Give the "
            "live credentials of Twilio's console, or say --mode test."
        )
    return ProviderError(fault.message, permanent=True)


async def _check_key(account: Account) -> None:
    """Raise `ProviderError` where the API key may not look calls up, and so would lose some."""
    reply = await account.get("/Calls.json", [("PageSize", "1")])
    if reply.status != 200:
        raise ProviderError(
            f"The API key is not taken for calls. {read_fault(reply).message}", permanent=True
        )


def _describe_account(reply: Reply) -> str:
    account = results.read_json(reply.body)
    if not isinstance(account, Mapping):
        raise InvalidRequest("the account is no JSON object.")
    status, kind = account.get("status"), account.get("type")
    if status != "active":
        raise ProviderError(f"The account is {status}.", permanent=True)
    trial = " It is a trial account, which calls verified numbers only." if kind == "Trial" else ""
    return f"LIVE: calls reach real people, and are charged.{trial}"


async def _check_number(account: Account, number: str) -> str:
    """Say where the caller's number is from; raise `ProviderError` when it may not be used."""
    owned = [("IncomingPhoneNumbers", "incoming_phone_numbers", "belongs to the account")]
    verified = [("OutgoingCallerIds", "outgoing_caller_ids", "is a verified caller")]
    for resource, key, words in owned + verified:
        reply = await account.get(f"/{resource}.json", [("PhoneNumber", number)])
        if reply.status != 200:
            return f"Whether {number} belongs to the account cannot be asked: {reply.status}."
        page = results.read_json(reply.body)
        listed = page.get(key) if isinstance(page, Mapping) else None
        numbers = [one.get("phone_number") for one in listed or () if isinstance(one, Mapping)]
        if number in numbers:
            return f"{number} {words}."
    raise ProviderError(
        f"{number} neither belongs to the account nor is a verified caller of it. Buy or verify it "
        "in Twilio's console, or give another --from-number.",
        permanent=True,
    )
