"""What can be proven about a Telnyx account without any effect."""

from collections.abc import Callable, Mapping
from datetime import datetime

from batchyard.errors import InvalidRequest, ProviderError
from batchyard.providers import results
from batchyard.providers.api_client import ApiClient
from batchyard.providers.clock_checks import describe_clock
from batchyard.providers.http_answers import describe
from batchyard.providers.http_exchange import AnswerLost, NotSent
from batchyard.providers.telnyx_settings import TelnyxSettings


async def check(
    api: ApiClient, settings: TelnyxSettings, *, now: Callable[[], datetime]
) -> list[str]:
    """Check the key, the application, the clock, and that the caller's number is the account's.

    Raises `ProviderError` for what cannot work.
    """
    try:
        reply = await api.get("/balance")
        asked_at = now()
        if reply.status != 200:
            raise ProviderError(f"The API key is not taken. {describe(reply)}", permanent=True)
        remarks = ["LIVE: calls reach real people, and are charged; Telnyx has no test keys."]
        remarks.append(f"Telnyx API v2, at {settings.base_url}.")
        remarks += await _check_application(api, settings)
        if settings.from_number is not None:
            remarks.append(await _check_number(api, settings.from_number))
    except (NotSent, AnswerLost) as error:
        raise ProviderError(f"{settings.base_url} cannot be reached: {error.message}") from error
    except InvalidRequest as error:
        raise ProviderError(f"The answer cannot be read: {error.message}") from error
    return [*remarks, describe_clock(reply, now=asked_at)]


async def _check_application(api: ApiClient, settings: TelnyxSettings) -> list[str]:
    """Raise `ProviderError` where there is none; say where nobody can tell."""
    reply = await api.get(f"/call_control_applications/{settings.connection_id}")
    if reply.status == 404:
        raise ProviderError(
            f"The account has no Call Control application {settings.connection_id}. Its id is in "
            "the portal, Voice, Programmable Voice.",
            permanent=True,
        )
    if reply.status != 200:
        return [f"Whether the account has the application cannot be asked: {reply.status}."]
    return []


async def _check_number(api: ApiClient, number: str) -> str:
    reply = await api.get("/phone_numbers", [("filter[phone_number]", number)])
    if reply.status != 200:
        return f"Whether {number} belongs to the account cannot be asked: {reply.status}."
    page = results.read_json(reply.body)
    listed = page.get("data") if isinstance(page, Mapping) else None
    numbers = [one.get("phone_number") for one in listed or () if isinstance(one, Mapping)]
    if number not in numbers:
        raise ProviderError(
            f"{number} does not belong to the account. Buy or verify it in the portal, or give "
            "another --from-number.",
            permanent=True,
        )
    return f"{number} belongs to the account."
