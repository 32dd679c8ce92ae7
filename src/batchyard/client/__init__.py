"""A client of the operator API: typed answers, retries, and a key for every change."""

from batchyard.client.batches import BatchCalls
from batchyard.client.items import ItemCalls, Verdict
from batchyard.client.lists import List
from batchyard.client.live import LiveCalls
from batchyard.client.shapes import (
    Agent,
    AuditEntry,
    Batch,
    Between,
    Delivery,
    DoNotContact,
    Endpoint,
    Event,
    Item,
    Moments,
    Number,
    RefusedRow,
    Rehearsal,
    Report,
    RowReport,
    SavedMapping,
    Team,
    Try,
    UnknownItem,
    Unknowns,
    Upload,
    Verdicts,
    Voided,
    Waiting,
)
from batchyard.client.team import TeamCalls
from batchyard.client.transport import ApiError, Download
from batchyard.client.webhooks import WebhookCalls


class Client(BatchCalls, ItemCalls, LiveCalls, WebhookCalls, TeamCalls):
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
    "Event",
    "Item",
    "List",
    "Moments",
    "Number",
    "RefusedRow",
    "Rehearsal",
    "Report",
    "RowReport",
    "SavedMapping",
    "Team",
    "Try",
    "UnknownItem",
    "Unknowns",
    "Upload",
    "Verdict",
    "Verdicts",
    "Voided",
    "Waiting",
]
