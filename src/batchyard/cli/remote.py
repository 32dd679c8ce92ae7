"""What data commands do first: find the server, and speak for the team of a token."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx
from pydantic import ValidationError

from batchyard import config
from batchyard.cli import logins
from batchyard.cli.logins import Login
from batchyard.client import ApiError, Client
from batchyard.config import Config
from batchyard.errors import BatchyardError, ConfigError, InvalidRequest

RETRIES = 2
"""A person waits."""

SHOWN_FAULTS = 5

Told = TypeVar("Told")


def ask(question: Callable[[Client], Awaitable[Told]]) -> Told:
    """Ask the server something; raise what it refuses, or `ConfigError` with what to do."""
    return run_as(find_login(config.load()), question)


def find_login(settings: Config) -> Login:
    """Return whom to ask, and as whom; the environment wins over what `login` keeps.

    A kept token is sent to its own server only. Raises `ConfigError` with what to do.
    """
    kept = logins.read(config.login_file())
    url = settings.server_url if settings.url is not None or kept is None else kept.url
    if settings.token is not None:
        return Login(url=url, token=settings.token.get_secret_value())
    if kept is not None and kept.url == url:
        return kept
    raise ConfigError(
        f"There is no token for {url}: neither BATCHYARD_TOKEN nor a login. Make a token with "
        "`batchyard token create --team default`, then say `batchyard login`."
    )


def run_as(login: Login, question: Callable[[Client], Awaitable[Told]]) -> Told:
    """Ask the server of a login, as `ask` does."""
    return asyncio.run(_ask(login, question))


async def _ask(login: Login, question: Callable[[Client], Awaitable[Told]]) -> Told:
    url = login.url
    try:
        async with Client(url, login.token, retries=RETRIES) as client:
            return await question(client)
    except ApiError as error:
        raise _refusal(error, url) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ConfigError(
            f"No server answers at {url}. Start one with `batchyard up`, or say where it is with "
            "`batchyard login` or BATCHYARD_URL."
        ) from error
    except ValidationError as error:
        raise ConfigError(
            f"What answers at {url} is no Batchyard server of this version."
        ) from error


def _refusal(error: ApiError, url: str) -> BatchyardError:
    if error.status == 401:
        return ConfigError(
            f"The server at {url} does not know the token, or it was revoked. Say "
            "`batchyard login`, or set BATCHYARD_TOKEN."
        )
    sentence = str(error.problem.get("detail", error))
    faults = error.problem.get("errors")
    named = [
        f"{fault['field']}: {fault['detail']}"
        for fault in (faults if isinstance(faults, list) else ())
        if isinstance(fault, dict) and str(fault.get("detail")) not in sentence
    ]
    if len(named) > SHOWN_FAULTS:
        named[SHOWN_FAULTS:] = [f"And {len(named) - SHOWN_FAULTS} more."]
    code = error.problem.get("code")
    return InvalidRequest(" ".join([sentence, *named]), code=str(code or "invalid"))
