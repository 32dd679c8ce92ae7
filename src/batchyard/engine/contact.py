"""Talks to providers, and makes of every fault the one honest answer: lost."""

from collections.abc import Awaitable
from typing import TypeVar

import structlog

from batchyard.engine.patience import Patience
from batchyard.models import Answer, Ended, Finding, Lost, Request
from batchyard.providers.base import Provider

T = TypeVar("T")

log = structlog.get_logger("batchyard.contact")


async def send_once(provider: Provider, request: Request, patience: Patience) -> Answer:
    """Send a request; whatever the provider raises, nobody knows whether it arrived."""
    answer = await _contact(provider, request, provider.send(request), patience)
    if request.is_repeat and isinstance(answer, Ended) and answer.is_refusal:
        # The first may have been taken, and be the very reason why the second is not.
        return Lost(
            code=answer.error_code or "refused",
            message=f"Sent again, it was refused, which says nothing about the first time. "
            f"{answer.error_message or ''}".rstrip(),
        )
    return answer


async def ask_once(provider: Provider, request: Request, patience: Patience) -> Finding:
    """Ask what became of a request; a fault leaves it undecided."""
    return await _contact(provider, request, provider.ask(request), patience)


async def _contact(
    provider: Provider, request: Request, talk: Awaitable[T], patience: Patience
) -> T | Lost:
    try:
        with patience.within(provider.promise.timeout.total_seconds()):
            return await talk
    except TimeoutError:
        return Lost(code="timeout", message="The provider did not answer in time.")
    except Exception as error:  # whatever a plug-in raises must not kill a worker
        log.exception("provider.broke", provider=provider.name, item=str(request.item_id))
        return Lost(code="provider_broke", message=f"{type(error).__name__}: {error}")
