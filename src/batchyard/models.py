"""The words of the house: states, items, what goes to a provider and what comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

JsonObject = Mapping[str, object]


class Kind(StrEnum):
    """What an item of a batch asks for."""

    CALL = "call"
    SHIPMENT = "shipment"


class Phase(StrEnum):
    """What the engine does with an item."""

    READY = "ready"
    CLAIMED = "claimed"
    CALLING = "calling"
    LIVE = "live"
    UNKNOWN = "unknown"
    DONE = "done"


class BatchState(StrEnum):
    """Where a batch stands; the doors translate these words."""

    IMPORTING = "importing"
    OPEN = "open"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """So many items in so many seconds."""

    count: int
    seconds: int


class Policy(StrEnum):
    """What a provider promises about the same key sent twice."""

    REPEATABLE = "repeatable"
    ASKABLE = "askable"
    NEITHER = "neither"


@dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """A tenant: owns batches, tokens, agents and limits."""

    id: int
    uuid: UUID
    slug: str
    name: str
    locale: str
    timezone: str
    created_at: datetime
    weight: int = 1
    """Its share of the workers beside other teams that have work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """Who speaks: a team by one of its tokens."""

    team: Team
    token_id: int
    bolna_version: str | None
    name: str = ""
    """What the token is called, for the audit log."""
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """Which ended statuses are tried again, how often, after how many minutes."""

    statuses: tuple[str, ...] = ()
    max_retries: int = 0
    intervals_minutes: tuple[float, ...] = (30, 60, 120)
    on_voicemail: bool = False
    jitter: float = 0
    """By how large a part of itself an interval may grow, 0 to 1; each key has its own share."""


def key_of(item_id: UUID, attempt: int) -> str:
    """Return the idempotency key of one intended effect."""
    return f"{item_id}.{attempt}"


# Made for each item, and a frozen dataclass of this size takes twice as long to make.
@dataclass(kw_only=True, slots=True)
class Request:
    """One intended effect, as a provider gets it. `key` is its `key_of`."""

    key: str
    item_id: UUID
    batch_id: UUID
    team: str
    kind: Kind
    attempt: int
    delivery: int
    """How often the item was claimed so far; rises with transport retries, the key does not."""
    sent_at: datetime
    payload: Mapping[str, object]
    number: str | None = None
    from_number: str | None = None
    reference: str | None = None
    """The provider's own reference of an earlier answer, when there is one."""
    known_result: Mapping[str, object] | None = None
    """What an earlier answer told already, when it could not end the item yet."""
    since: datetime | None = None
    """Set after a restore: the key may have been used from this time on, not from `sent_at`."""
    is_repeat: bool = False
    """The key may have arrived there before: that it is refused now says nothing about then."""
    absences: int = 0
    """Of a question: how often this very key was sent before and believed never to have arrived."""
    taken: frozenset[str] = frozenset()
    """Set where calls are told apart by their numbers: references that belong to other keys."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A file that belongs to an ended item, such as a label."""

    kind: Literal["label", "customs", "other"]
    format: Literal["pdf", "zpl", "png"]
    content: bytes
    parcel: int | None = None
    location: str | None = None
    """Where the content is kept, once that is outside the database."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """The provider took the item and works on it; the item becomes live."""

    reference: str | None = None
    status: str | None = None
    """A live status word of the trade; None takes the kind's first."""
    check_at: datetime | None = None
    """When to look the item up if no callback ended it."""
    result: Mapping[str, object] | None = None
    """What is known already; comes back as `Request.known_result` when the item is looked up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """A live item moved on (ringing, in-progress)."""

    status: str
    reference: str | None = None


# As `Request`: made for each item.
@dataclass(kw_only=True, slots=True)
class Ended:
    """The effect has its final answer."""

    status: str
    result: Mapping[str, object] = field(default_factory=dict)
    documents: Sequence[Document] = ()
    error_code: str | None = None
    error_message: str | None = None
    reference: str | None = None
    is_refusal: bool = False
    """This very request was turned down for good, as with a 404: no answer to its key, so it says
    nothing about an earlier request with the same one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Proven: nothing was done. The same key may be sent again later."""

    code: str
    message: str
    retry_after_seconds: float | None = None
    stops_provider: bool = False
    """Nothing will be done for anybody until a person has mended it, such as a wrong password."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """The request may have been received; nobody here knows."""

    code: str
    message: str
    stops_provider: bool = False
    """Of a question: nobody finds out until a person has mended it, such as a wrong password. Such
    time does not count against the item, unless it takes longer than the grace."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NotReceived:
    """Asked: the provider never received this key."""

    is_certain: bool = False
    """Proven by our own books: nothing is done before a reference is kept, and none of this key
    was. Believed of a one-sided provider too."""


Answer = Accepted | Progress | Ended | Refused | Lost
"""What sending, or a callback, can bring."""
Finding = Accepted | Progress | Ended | NotReceived | Lost
"""What asking a provider can bring; Lost is 'could not be decided'."""
