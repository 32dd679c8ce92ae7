"""The words for states and statuses: as people read them, and the tone they are coloured in."""

from collections.abc import Mapping
from enum import StrEnum

from batchyard.models import BatchState, Kind


class Tone(StrEnum):
    """What a word means to whoever looks; a colour in `app.css` for each."""

    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    ODD = "odd"
    MUTED = "muted"
    LIVE = "live"
    LATER = "later"
    IDLE = "idle"


STATES: Mapping[BatchState, tuple[str, Tone]] = {
    BatchState.IMPORTING: ("importing", Tone.IDLE),
    BatchState.OPEN: ("not started", Tone.IDLE),
    BatchState.SCHEDULED: ("scheduled", Tone.LATER),
    BatchState.QUEUED: ("queued", Tone.LIVE),
    BatchState.RUNNING: ("running", Tone.LIVE),
    BatchState.PAUSED: ("paused", Tone.WARN),
    BatchState.STOPPED: ("stopped", Tone.MUTED),
    BatchState.COMPLETED: ("completed", Tone.GOOD),
    BatchState.FAILED: ("failed", Tone.BAD),
    BatchState.CANCELLED: ("cancelled", Tone.MUTED),
}

STATUSES: Mapping[str, tuple[str, Tone]] = {
    "completed": ("completed", Tone.GOOD),
    "booked": ("booked", Tone.GOOD),
    "no-answer": ("no answer", Tone.WARN),
    "busy": ("busy", Tone.WARN),
    "balance-low": ("balance low", Tone.WARN),
    "failed": ("failed", Tone.BAD),
    "error": ("error", Tone.BAD),
    "unknown": ("unknown", Tone.ODD),
    "stopped": ("stopped", Tone.MUTED),
    "canceled": ("cancelled", Tone.MUTED),
    "initiated": ("initiated", Tone.LIVE),
    "ringing": ("ringing", Tone.LIVE),
    "in-progress": ("in progress", Tone.LIVE),
    "call-disconnected": ("hanging up", Tone.LIVE),
    "processing": ("processing", Tone.LIVE),
    "sending": ("sending", Tone.LIVE),
    "retrying": ("to be retried", Tone.LATER),
    "rescheduled": ("put off", Tone.LATER),
    "waiting": ("waiting", Tone.IDLE),
}
"""In the order of a progress bar: what has ended first, what waits last."""

KINDS: Mapping[Kind, str] = {Kind.CALL: "calls", Kind.SHIPMENT: "shipments"}

KEPT: Mapping[str, tuple[str, str]] = {
    "items_days": ("What is in items and refused rows", "after the end of the batch"),
    "transcripts_days": (
        "Transcripts and recordings of calls",
        "after the end of the batch, at the latest with their items",
    ),
    "documents_days": ("Labels and other documents", "after the end of the batch"),
    "events_days": ("Events", "after they happened"),
    "webhooks_days": ("What webhooks were told", "after it was told"),
    "idempotency_days": ("Idempotency keys with their answers", "after the answer"),
}
"""What a team keeps, and from when its days count."""
