"""What a provider is: the one thing to copy when you connect Batchyard to somebody new."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from pydantic import BaseModel

from batchyard.asking import ASK_PATIENCE
from batchyard.errors import Conflict, InvalidRequest, ProviderError
from batchyard.models import Answer, Finding, Kind, Lost, Policy, Rate, Request

Report = Callable[[str, Answer], None]
"""Takes a key (`item_id.attempt`) and news about it; for providers that hear back by themselves."""

Keep = Callable[[Request, str], Awaitable[bool]]
"""Commits what the other side calls a request that is being sent, before the effect is asked for.

False when the request must not go on. After a crash `Request.reference` brings it back.
"""


class OtherEffect(InvalidRequest):
    """The news is about another call or booking than the one that is known under its key."""


async def keep_nothing(_request: Request, _reference: str) -> bool:
    """Keep no reference: where nothing is sent, nothing may go on."""
    return False


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
    looks: Sequence[timedelta] = ()
    """In place of `ask_settles_after`: so long after the intent the key must not be found, at each
    of these times, before it is believed to be unknown there."""
    ask_patience: timedelta = ASK_PATIENCE
    """So long an undecided key is asked for; then a person has to decide."""
    is_exclusive_per_number: bool = False
    """Two undecided calls from one number to another could not be told apart, so there is only
    ever one; for askable providers."""

    @property
    def proves_absence(self) -> bool:
        """Whether asking can prove that a key was never received, so that it may be sent again."""
        return not self.is_one_sided and self.policy is not Policy.NEITHER

    @property
    def settles_after(self) -> timedelta:
        """How long after a request could last arrive a key that is not found counts as unknown."""
        return max((self.ask_settles_after, *self.looks))


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
    keep: Keep = keep_nothing
    """For providers that need two steps; see `Keep`."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Voided:
    """What became of a booking that was to be taken back."""

    sentence: str
    is_carrier_told: bool
    """False: it is marked as cancelled there, and may still be carried and paid for."""


class Provider(ABC):
    """One way to have items done in the outside world."""

    kinds: ClassVar[frozenset[Kind]]
    settings_model: ClassVar[type[BaseModel] | None] = None
    """The settings of this kind, from which the command, the page and the checks are made."""
    secrets_model: ClassVar[type[BaseModel] | None] = None
    """The secrets of this kind by name, stored as one JSON text; None: at most one, a text."""
    ends_calls: ClassVar[bool] = False
    """Whether `end` can break a live call off."""
    account_setting: ClassVar[str | None] = None
    """The setting that names an account which only one provider may use."""
    locating_settings: ClassVar[frozenset[str] | None] = None
    """The settings by which items are found at the other side, such as its address and its account.
    While something is under way they do not change, else it could be asked about at the wrong
    place and be done twice. None: all of them."""
    calls_back: ClassVar[bool] = True
    """Whether the other side brings news by itself, and so must reach us."""
    concurrency: int | None = None
    """Items in flight at once unless the operator sets another cap; None is without limit."""
    rate: Rate | None = None
    """How fast items start unless the operator sets rates; None is without limit."""
    caller: str | None = None
    """The number that calls come from where their batch names none."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.name = surroundings.name
        self.clock = surroundings.clock
        self.report = surroundings.report
        self.settings = surroundings.settings
        self.secret = surroundings.secret
        self.allow_private = surroundings.allow_private
        self.callback_address = surroundings.callback_address
        self.keep = surroundings.keep

    @classmethod
    def services(cls, settings: Mapping[str, object]) -> Sequence[Service] | None:  # noqa: ARG003
        """Declare what a provider of these settings books; None is all that the catalogue has."""
        return None

    async def find_services(self) -> Sequence[Service] | None:
        """Ask the other side what it books; None where `services` says it.

        Asked from time to time; what was found last is offered. Raise `ProviderError` on a fault.
        """
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

        Raise `InvalidRequest` when it makes no sense, `OtherEffect` when it is about something else
        than `request.reference`, `Forbidden` when its signature is wrong. Must not wait for
        anything: what has to be fetched first is told as `Accepted` with a `check_at` of now, and
        fetched in `ask`.
        """
        raise InvalidRequest(f"{self.name} takes no callbacks.")

    async def end(self, request: Request) -> Answer:
        """Break off what a live item asks for, and return what is known then.

        Raise `Conflict` when that is not possible, as where the call was over already, and
        `ProviderError` when nobody knows.
        """
        raise Conflict(f"{self.name} cannot break off a {request.kind}.")

    async def void(self, reference: str) -> Voided:  # noqa: ARG002  # for those that can
        """Take back what was booked under a reference of ours.

        Safe to repeat. Raise `ProviderError` where that is not possible, or nobody knows.
        """
        raise ProviderError(f"{self.name} takes nothing back.", permanent=True)

    async def check(self) -> Sequence[str]:
        """Try the provider without any effect; return remarks, raise `ProviderError` on a fault."""
        return ()

    async def close(self) -> None:  # noqa: B027  # most have nothing to give back
        """Give back connections."""
