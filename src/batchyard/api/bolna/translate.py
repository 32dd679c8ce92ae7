"""The vendor's words for ours: versions, statuses, retry settings; pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from batchyard.models import BatchState, RetryPolicy

DOOR = "bolna"
"""What this door is called where other doors are known."""

S = BatchState


class Version(StrEnum):
    """The two states of the vendor's API that clients rely on."""

    V2024 = "2024-01"
    V2026 = "2026-08"


DEFAULT_VERSION = Version.V2024

BATCH_WORDS: Mapping[Version, Mapping[BatchState, str]] = {
    Version.V2024: {
        S.OPEN: "created",
        S.SCHEDULED: "scheduled",
        S.QUEUED: "queued",
        S.RUNNING: "queued",
        S.PAUSED: "queued",
        S.STOPPED: "executed",
        S.COMPLETED: "executed",
        S.FAILED: "executed",
        S.CANCELLED: "executed",
    },
    Version.V2026: {
        S.OPEN: "created",
        S.SCHEDULED: "scheduled",
        S.QUEUED: "queued",
        S.RUNNING: "running",
        S.PAUSED: "running",
        S.STOPPED: "stopped",
        S.COMPLETED: "completed",
        S.FAILED: "failed",
        S.CANCELLED: "stopped",
    },
}
"""Contract, section 1. An import is never shown."""

WAITING_WORDS: Mapping[str, str] = {
    S.OPEN: "prepared",
    S.SCHEDULED: "scheduled",
    S.STOPPED: "stopped",
    S.CANCELLED: "canceled",
}
"""What a call that waits is called, by the state of its batch; `queued` in all other states."""

CALL_WORDS: Mapping[str, str] = {"retrying": "scheduled", "sending": "queued"}
"""Our statuses of a call that the vendor has another word for."""

UNKNOWN_WORD = "in-progress"
UNKNOWN_FOR_LONG_WORD = "error"
UNKNOWN_MESSAGE = "The outcome of this call is not known."

_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def parse_id(text: str) -> UUID | None:
    """Read an id, with dashes or without; None when it is neither."""
    return UUID(text) if _ID.fullmatch(text) else None


def pick_version(*, header: str | None, pinned: str | None) -> Version:
    """Return the version that answers; the header wins. Raise `ValueError` for an unknown one."""
    return Version(header.strip()) if header is not None else Version(pinned or DEFAULT_VERSION)


def wire_time(at: datetime) -> str:
    """Write a time as the vendor does: UTC, whole seconds, Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def scheduled_state(at: datetime, *, version: Version) -> str:
    """Return the `state` of the answer to a schedule."""
    return "scheduled" if version is Version.V2026 else f"scheduled at {wire_time(at)}"


def retry_policy(
    *,
    enabled: bool,
    max_retries: int,
    statuses: tuple[str, ...],
    on_voicemail: bool,
    intervals_minutes: tuple[float, ...],
) -> RetryPolicy:
    """Return the policy of a retry_config."""
    if not enabled:
        return RetryPolicy()
    return RetryPolicy(
        statuses=statuses,
        max_retries=max_retries,
        intervals_minutes=intervals_minutes,
        on_voicemail=on_voicemail,
    )
