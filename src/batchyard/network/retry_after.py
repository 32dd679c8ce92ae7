"""How long an answer asks to be left alone (RFC 9110, 10.2.3)."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def read_retry_after(text: str, *, now: datetime) -> float | None:
    """Read `Retry-After`, in seconds or as a date, as seconds from now; None when it is neither."""
    told = text.strip()
    if told.isascii() and told.isdigit():
        return float(told)
    try:
        at = parsedate_to_datetime(told)
    except (ValueError, OverflowError):  # the latter for a year of more digits than fit
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
