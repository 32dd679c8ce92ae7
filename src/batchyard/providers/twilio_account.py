"""One Twilio account over HTTP: requests with its credentials, no retries, paged lists."""

import base64
from collections.abc import Mapping
from urllib.parse import urlencode

from pydantic import SecretStr

from batchyard.errors import ConfigError, InvalidRequest
from batchyard.providers import results
from batchyard.providers.api_client import ApiClient, Pairs
from batchyard.providers.http_exchange import AccessRefused, AnswerLost, Reply
from batchyard.providers.twilio_answers import (
    Call,
    are_credentials_refused,
    call_of,
    read_call,
    read_fault,
)
from batchyard.providers.twilio_settings import TwilioSecrets, TwilioSettings

API = "2010-04-01"
PAGE_SIZE = 100
MOST_PAGES = 20


class Account:
    """Speaks for one account."""

    def __init__(
        self, name: str, settings: TwilioSettings, secrets: TwilioSecrets, *, allow_private: bool
    ) -> None:
        """Raise `ConfigError` when an API key lacks its other half."""
        if (settings.api_key_sid is None) != (secrets.api_key_secret is None):
            raise ConfigError(
                f"Provider '{name}' needs api_key_sid and the secret api_key_secret together, or "
                "neither."
            )
        self._by_token = _basic(settings.account_sid, secrets.auth_token)
        self.has_api_key = False
        authorization = self._by_token
        if settings.api_key_sid is not None and secrets.api_key_secret is not None:
            self.has_api_key = True
            authorization = _basic(settings.api_key_sid, secrets.api_key_secret)
        self._api = ApiClient(
            settings.base_url,
            authorization=authorization,
            timeout_seconds=settings.timeout_seconds,
            allow_private=allow_private,
        )
        self._path = f"/{API}/Accounts/{settings.account_sid}"

    @property
    def is_closing(self) -> bool:
        """Whether nothing new may be sent."""
        return self._api.is_closing

    async def post(self, resource: str, form: Pairs) -> Reply:
        """Post a form once; raise `NotSent` or `AnswerLost`."""
        return await self._api.post(
            f"{self._path}{resource}",
            urlencode(form).encode(),
            content_type="application/x-www-form-urlencoded",
        )

    async def get(self, resource: str, query: Pairs = ()) -> Reply:
        """Fetch a resource of the account; raise `NotSent` or `AnswerLost`."""
        return await self._api.get(f"{self._path}{resource}", query)

    async def get_itself(self) -> Reply:
        """Fetch the account by its auth token: most API keys may not see it.

        Raises `NotSent` or `AnswerLost`.
        """
        return await self._api.get(f"{self._path}.json", authorization=self._by_token)

    async def get_call(self, sid: str) -> Call:
        """Look a call up; raise `AnswerLost` when none comes, `InvalidRequest` for nonsense.

        `AccessRefused` where it is due to the credentials.
        """
        reply = await self.get(f"/Calls/{sid}.json")
        if reply.status != 200:
            raise _fault_of_look_up(reply)
        return read_call(reply.body)

    async def list_calls(self, query: Mapping[str, str]) -> list[Call]:
        """List all calls that match; raise `AnswerLost` unless every page was read.

        `AccessRefused` where that is due to the credentials.
        """
        calls: list[Call] = []
        path = f"{self._path}/Calls.json?{urlencode({**query, 'PageSize': str(PAGE_SIZE)})}"
        for _ in range(MOST_PAGES):
            reply = await self._api.get(path)
            if reply.status != 200:
                raise _fault_of_look_up(reply)
            page, following = _read_page(reply)
            calls += page
            if following is None:
                return calls
            path = following
        raise AnswerLost("too_many_calls", "There are too many calls to this number to look at.")

    async def close(self) -> None:
        """Let what is out come in, then hang up."""
        await self._api.close()


def _basic(user: str, password: SecretStr) -> str:
    pair = f"{user}:{password.get_secret_value()}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _fault_of_look_up(reply: Reply) -> AnswerLost:
    fault = read_fault(reply)
    if are_credentials_refused(reply):
        return AccessRefused(fault.name, fault.message)
    return AnswerLost(fault.name, fault.message)


def _read_page(reply: Reply) -> tuple[list[Call], str | None]:
    try:
        page = results.read_json(reply.body)
        listed = page.get("calls") if isinstance(page, Mapping) else None
        calls = [call_of(one) for one in listed] if isinstance(listed, list) else None
    except InvalidRequest as error:
        raise AnswerLost("answer_unreadable", error.message) from error
    if calls is None or not isinstance(page, Mapping):
        raise AnswerLost("answer_unreadable", "The list of calls has none.")
    following = page.get("next_page_uri")
    return calls, following if isinstance(following, str) and following else None
