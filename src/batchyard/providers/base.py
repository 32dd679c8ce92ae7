"""What a provider is: the one thing to copy when you connect Batchyard to somebody new."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from batchyard.models import Answer, Finding, Kind, Lost, Policy, Request

Report = Callable[[str, Answer], None]
"""Takes a key (`item_id.attempt`) and news about it; for providers that hear back by themselves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """What a provider guarantees about a key it has seen before."""

    policy: Policy
    timeout: timedelta = timedelta(seconds=30)
    """After this long a request that got no answer is lost."""
    key_ttl: timedelta | None = None
    """How long a repeated key is honoured; None is for ever. Older intents fall to asking."""
    is_askable: bool = False
    """Whether `ask` answers; true for askable providers, may be true for repeatable ones."""
    ask_settles_after: timedelta = timedelta(0)
    """'Not received' is believed only this long after the request could last arrive."""
    is_one_sided: bool = False
    """Asking can prove a receipt but never its absence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What a provider is given at start."""

    name: str
    clock: Callable[[], datetime]
    report: Report
    settings: Mapping[str, object] = field(default_factory=dict)
    secret: str | None = None
    allow_private: bool = False
    """Whether the provider may live on a private or loopback address."""
    callback_url: str = ""
    """Where its callbacks go; a token that names item and attempt follows."""
    callback_key: bytes = b""


class Provider(ABC):
    """One way to have items done in the outside world."""

    kinds: ClassVar[frozenset[Kind]]
    concurrency: int | None = None
    """Items in flight at once unless the operator sets another cap; None is without limit."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.name = surroundings.name
        self.clock = surroundings.clock
        self.report = surroundings.report
        self.settings = surroundings.settings

    @property
    @abstractmethod
    def promise(self) -> Promise:
        """What this provider guarantees."""

    @abstractmethod
    async def send(self, request: Request) -> Answer:
        """Ask for the effect once. Never repeat inside: the engine knows when that is safe.

        Return `Refused` only when it is proven that nothing was done. An exception counts as
        `Lost`.
        """

    async def ask(self, request: Request) -> Finding:  # noqa: ARG002  # for those that can
        """Look up what became of `request.key`; `Lost` when that cannot be decided."""
        return Lost(code="not_askable", message=f"{self.name} cannot be asked.")

    async def close(self) -> None:  # noqa: B027  # most have nothing to give back
        """Give back connections."""
