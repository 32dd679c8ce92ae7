"""What a provider is: the one thing to copy when you connect Batchyard to somebody new."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from batchyard.errors import InvalidRequest
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
    callback_address: Callable[[Request], str] = lambda _: ""
    """The address at which news of a request's key is taken; proves itself by a MAC."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Callback:
    """What arrived at a callback address."""

    url: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A way of sending that a provider books, by the codes that clients name."""

    carrier: str
    service: str
    carrier_name: str | None = None
    service_name: str | None = None
    """Names for codes that the catalogue does not have."""
    is_pickup: bool = False
    is_return: bool = False


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
        self.secret = surroundings.secret
        self.allow_private = surroundings.allow_private
        self.callback_address = surroundings.callback_address

    @classmethod
    def services(cls, settings: Mapping[str, object]) -> Sequence[Service] | None:  # noqa: ARG003
        """Declare what a provider of these settings books; None is all that the catalogue has."""
        return None

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

    async def read_callback(self, request: Request, callback: Callback) -> Answer:  # noqa: ARG002
        """Read news that came for `request.key`.

        Raise `InvalidRequest` when it makes no sense, `Forbidden` when its signature is wrong. Must
        not wait for anything: what has to be fetched first is told as `Accepted` with a `check_at`
        of now, and fetched in `ask`.
        """
        raise InvalidRequest(f"{self.name} takes no callbacks.")

    async def check(self) -> Sequence[str]:
        """Try the provider without any effect; return remarks, raise `ProviderError` on a fault."""
        return ()

    async def close(self) -> None:  # noqa: B027  # most have nothing to give back
        """Give back connections."""
