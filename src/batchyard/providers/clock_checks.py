"""How far a vendor's clock is from ours, by the date of its answers; pure."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from batchyard.providers.http_exchange import Reply

TOLERANCE_SECONDS = 5.0


def describe_clock(reply: Reply, *, now: datetime) -> str:
    """Say how far their clock, which dates their answer, is from ours."""
    try:
        theirs = parsedate_to_datetime(reply.headers.get("date", ""))
    except (ValueError, OverflowError):  # the latter for a year of more digits than fit
        return "Clock: they did not tell their time."
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    seconds = (theirs - now).total_seconds()
    if abs(seconds) <= TOLERANCE_SECONDS:
        return "Clock: no difference that matters."
    side = "ahead of" if seconds > 0 else "behind"
    return f"Clock: theirs is {abs(seconds):.0f} s {side} ours. Set this machine's clock."
