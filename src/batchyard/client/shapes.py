"""What the operator API shows, as types."""

from datetime import date, datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

Values = dict[str, object]


class Shown(BaseModel):
    """Something the API shows; fields that a later server adds are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)


class Waiting(Shown):
    """Why something waits, and until when if time alone ends it."""

    reason: str
    sentence: str
    until: datetime | None
    by: str | None = None
    """Who paused it, where that is known."""
    error: str | None = None
    """What the next item of a batch met last, where it waits for another try."""


class Batch(Shown):
    """A batch with its counts; why it waits only where it was read by itself."""

    id: UUID
    kind: str
    state: str
    file_name: str | None
    reference: str | None
    identifier: str | None
    agent_id: UUID | None
    is_single: bool
    priority: int
    limits: Values | None
    rows: int
    refused_rows: int
    total: int
    counts: dict[str, int]
    phases: dict[str, int]
    wait_reason: str | None
    scheduled_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    waiting: Waiting | None = None


class Item(Shown):
    """An item; the whole history only where it was read by itself."""

    id: UUID
    batch_id: UUID
    position: int
    phase: str
    status: str
    attempt: int
    number: str | None
    reference: str | None
    provider: str | None
    provider_reference: str | None
    error_code: str | None
    error_message: str | None
    due_at: datetime | None
    updated_at: datetime
    ended_at: datetime | None
    payload: Values | None = None
    result: Values | None = None
    attempts: list[Values] = []
    waiting: Waiting | None = None


class UnknownItem(Shown):
    """An item that may have been done, with what a person needs to find out."""

    item_id: UUID
    batch_id: UUID
    kind: str
    position: int
    reference: str | None
    number: str | None
    key: str
    provider: str | None
    sent_at: datetime | None
    since: datetime
    error_code: str | None
    error_message: str | None


class Unknowns(Shown):
    """The oldest unknown outcomes, and how many there are."""

    data: list[UnknownItem]
    total: int


class Voided(Shown):
    """What is true of a shipment after it was taken back."""

    sentence: str
    is_carrier_told: bool


class Event(Shown):
    """Something that happened; `batch.counts` has counts instead of an id."""

    type: str
    id: str | None = None
    batch_id: UUID | None = None
    item_id: UUID | None = None
    data: Values = {}
    counts: dict[str, int] | None = None
    at: datetime | None = None


class RefusedRow(Shown):
    """A row that became no item; the reason says what helps."""

    line: int
    code: str
    reason: str


class Report(Shown):
    """What became of the rows of a list that was sent just now."""

    batch_id: UUID
    rows: int
    accepted: int
    corrected: int
    refused: int
    skipped: int
    codes: dict[str, int]
    first_refusals: list[RefusedRow]
    duplicate_of: UUID | None
    offered_mapping: str | None


class Upload(Shown):
    """A file on its way in, and how many of its rows were judged so far."""

    id: UUID
    state: str
    file_name: str | None
    bytes: int
    total_bytes: int | None
    rows: int
    accepted: int
    refused: int


class RowReport(Shown):
    """What became of the rows of all lists of a batch."""

    rows: int
    accepted: int
    refused: int
    refused_by_code: dict[str, int]
    warned_by_code: dict[str, int]
    uploads: list[Values]


class Verdicts(Shown):
    """What would become of the rows of a list."""

    rows: int
    accepted: int
    refused: int
    skipped: int
    codes: dict[str, int]


class Between(Shown):
    """A number, and between what it will most likely be."""

    low: float
    expected: float
    high: float


class Moments(Shown):
    """A moment, and between what it will most likely be."""

    low: datetime
    expected: datetime
    high: datetime


class Rehearsal(Shown):
    """What a batch would do."""

    upload: Verdicts
    items: int
    sampled: int
    provider: str
    basis: str
    attempts: Between
    retries: float
    ended: dict[str, float]
    costs: dict[str, Between]
    starts_at: datetime | None
    ends_at: Moments
    busiest_hour: datetime | None
    busiest_hour_attempts: float
    pace: list[tuple[datetime, float]]
    limited_by: str | None
    limit_sentence: str | None
    waits: dict[str, float]
    remarks: list[str]


class Team(Shown):
    """The team of the token, and what the token may do."""

    id: UUID
    slug: str
    name: str
    locale: str
    timezone: str
    scopes: list[str]


class Token(Shown):
    """A token of the team, without its text."""

    id: int
    name: str
    scopes: list[str]
    bolna_version: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class User(Shown):
    """A person who signs in to the dashboard."""

    id: UUID
    email: str
    name: str
    scopes: list[str]
    has_password: bool
    created_at: datetime


class Erased(Shown):
    """What an erasure did; `pending` are erased when they have ended."""

    items: int
    pending: int
    documents: int
    others: dict[str, int]


class SavedMapping(Shown):
    """What columns mean, kept under a name; None leaves a column out."""

    id: UUID
    kind: str
    name: str
    mapping: dict[str, str | None]
    created_at: datetime
    updated_at: datetime


class Proposed(Shown):
    """What the columns of a header seem to mean."""

    columns: list[str]
    mapping: dict[str, str | None]
    guessed: list[str]
    missing: list[str]
    saved_as: str | None


class Rules(Shown):
    """When and whom the team calls; None is off."""

    fallback_zone: str | None
    days: list[int]
    holidays: list[date]
    attempts_per_day: int | None
    attempts_per_week: int | None
    countries: list[str] | None
    refuses_premium: bool


class Agent(Shown):
    """Who speaks in calls."""

    id: UUID
    name: str
    created_at: datetime


class Number(Shown):
    """A number the team calls from, and the one agent who does; None: all."""

    number: str
    agent_id: UUID | None
    created_at: datetime


class DoNotContact(Shown):
    """A number that is not contacted; for ever where there is no `until`."""

    number: str
    reason: str | None
    until: datetime | None
    source: str
    created_at: datetime


class AuditEntry(Shown):
    """A change: who made it, of what, from where."""

    id: int
    actor: str
    action: str
    subject: str | None
    source: str | None
    before: Values | None
    after: Values | None
    at: datetime


class Endpoint(Shown):
    """An address that listens to the team, and whether it works."""

    id: UUID
    url: str
    description: str | None
    events: list[str] | None
    failures: int
    failing_since: datetime | None
    disabled_at: datetime | None
    created_at: datetime


class Delivery(Shown):
    """Something that was told to an endpoint, or waits to be."""

    id: UUID
    type: str
    endpoint_id: UUID
    url: str
    batch_id: UUID | None
    item_id: UUID | None
    state: str
    attempts: int
    created_at: datetime
    due_at: datetime
    ended_at: datetime | None
    last_status: int | None
    last_error: str | None


class Try(Shown):
    """One try to deliver."""

    at: datetime
    duration_ms: int
    status: int | None
    error: str | None
