"""When an ended item is tried again; pure."""

from datetime import datetime, timedelta

from batchyard.models import RetryPolicy


def plan(
    policy: RetryPolicy,
    *,
    status: str,
    answered_by_voicemail: bool,
    attempt: int,
    now: datetime,
) -> datetime | None:
    """Return when the next attempt is due, or None when the item has ended for good.

    `attempt` counts from 1; the policy's intervals belong to the first, second ... retry, and
    the last one repeats.
    """
    wanted = status in policy.statuses or (policy.on_voicemail and answered_by_voicemail)
    if not wanted or attempt > policy.max_retries:
        return None
    intervals = policy.intervals_minutes
    return now + timedelta(minutes=intervals[min(attempt, len(intervals)) - 1])
