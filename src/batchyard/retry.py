"""When an ended item is tried again; pure."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

from batchyard.models import RetryPolicy


def to_json(policy: RetryPolicy) -> dict[str, object]:
    """Write a policy as it is kept with its batch."""
    return {
        "statuses": list(policy.statuses),
        "max_retries": policy.max_retries,
        "intervals_minutes": list(policy.intervals_minutes),
        "on_voicemail": policy.on_voicemail,
        "jitter": policy.jitter,
    }


def from_json(kept: Mapping[str, object]) -> RetryPolicy:
    """Read a kept policy; an empty object is the policy without retries."""
    statuses, intervals = kept.get("statuses", ()), kept.get("intervals_minutes", ())
    max_retries, jitter = kept.get("max_retries", 0), kept.get("jitter", 0)
    if not (
        isinstance(statuses, list | tuple)
        and isinstance(intervals, list | tuple)
        and isinstance(max_retries, int)
        and isinstance(jitter, int | float)
    ):
        return RetryPolicy()
    return RetryPolicy(
        statuses=tuple(str(status) for status in statuses),
        max_retries=max_retries,
        intervals_minutes=tuple(float(minutes) for minutes in intervals)
        or RetryPolicy().intervals_minutes,
        on_voicemail=bool(kept.get("on_voicemail", False)),
        jitter=jitter,
    )


def plan(
    policy: RetryPolicy,
    *,
    status: str,
    answered_by_voicemail: bool,
    attempt: int,
    key: str,
    now: datetime,
) -> datetime | None:
    """Return when the next attempt is due, or None when the item has ended for good.

    `attempt` counts from 1; the policy's intervals belong to the first, second ... retry, and
    the last one repeats. An interval is never shortened: with jitter it is longer by the share
    that falls to `key`, of the attempt that ended, the same whoever plans it.
    """
    wanted = status in policy.statuses or (policy.on_voicemail and answered_by_voicemail)
    if not wanted or attempt > policy.max_retries:
        return None
    intervals = policy.intervals_minutes
    minutes = intervals[min(attempt, len(intervals)) - 1]
    if policy.jitter:
        minutes *= 1 + policy.jitter * _share(key)
    return now + timedelta(minutes=minutes)


def _share(key: str) -> float:
    """Spread keys evenly over 0 to 1."""
    digest = hashlib.blake2b(key.encode(), digest_size=6).digest()
    return int.from_bytes(digest) / (2**48 - 1)
