"""A client of the operator API: typed answers, retries, and a key for every change."""

from batchyard.client.batches import BatchCalls
from batchyard.client.items import ItemCalls, Verdict
from batchyard.client.lists import List
from batchyard.client.live import LiveCalls
from batchyard.client.people import PeopleCalls
from batchyard.client.privacy import PrivacyCalls
from batchyard.client.rules import RuleCalls
from batchyard.client.shapes import (
    Agent,
    AuditEntry,
    Batch,
    Between,
    Delivery,
    DoNotContact,
    Endpoint,
    Erased,
    Event,
    Item,
    Moments,
    Number,
    Proposed,
    RefusedRow,
    Rehearsal,
    Report,
    RowReport,
    Rules,
    SavedMapping,
    Team,
    Token,
    Try,
    UnknownItem,
    Unknowns,
    Upload,
    User,
    Verdicts,
    Voided,
    Waiting,
)
from batchyard.client.team import TeamCalls
from batchyard.client.transport import ApiError, Download
from batchyard.client.webhooks import WebhookCalls


class Client(
    BatchCalls,
    ItemCalls,
    LiveCalls,
    WebhookCalls,
    TeamCalls,
    PeopleCalls,
    PrivacyCalls,
    RuleCalls,
):
    """Speaks for the team of its token; use it as a context, from one event loop."""


__all__ = [
    "Agent",
    "ApiError",
    "AuditEntry",
    "Batch",
    "Between",
    "Client",
    "Delivery",
    "DoNotContact",
    "Download",
    "Endpoint",
    "Erased",
    "Event",
    "Item",
    "List",
    "Moments",
    "Number",
    "Proposed",
    "RefusedRow",
    "Rehearsal",
    "Report",
    "RowReport",
    "Rules",
    "SavedMapping",
    "Team",
    "Token",
    "Try",
    "UnknownItem",
    "Unknowns",
    "Upload",
    "User",
    "Verdict",
    "Verdicts",
    "Voided",
    "Waiting",
]
