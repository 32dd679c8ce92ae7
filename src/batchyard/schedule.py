"""When a batch may be scheduled for, by the rules of the Bolna contract, section 4; pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from batchyard.errors import InvalidRequest

HORIZON = timedelta(days=30)
CALENDAR = (datetime(2, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC))
"""Times outside are not taken to be kept: in another zone or a retry later they are before the
year 1 or after 9999, where Python cannot follow, nor read them from the database."""

VENDOR_LEAD = timedelta(minutes=2)
VENDOR_STEP = timedelta(minutes=10)

TOO_SOON = "Scheduled time should be atleast 2 minutes in the future"
"""As the vendor writes it."""

_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ]"
    r"(?P<time>\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)"
    r"\s?(?P<offset>[Zz]|[+\- ]?\d\d:?\d\d)?",
    re.ASCII,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleRules:
    """How far ahead a time must lie, and to which marks it is rounded up; 0 turns a rule off."""

    lead: timedelta = VENDOR_LEAD
    step: timedelta = VENDOR_STEP


def is_in_calendar(at: datetime) -> bool:
    """Tell whether a time can be kept, shown in every zone, and counted on from."""
    start, end = CALENDAR
    return start <= at < end


def parse_time(text: str) -> datetime:
    """Read an ISO 8601 time; one without an offset is UTC. Raise `InvalidRequest` otherwise.

    A blank before the offset is a `+` that a client forgot to encode in a form.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise InvalidRequest("scheduled_at must be an ISO 8601 time, such as 2030-01-29T08:30:00Z")
    offset = (match["offset"] or "Z").upper().replace(" ", "+")
    if offset[0].isdigit():
        offset = f"+{offset}"
    try:
        return datetime.fromisoformat(f"{match['date']}T{match['time']}{offset}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(f"scheduled_at is no time of any calendar: {text.strip()}") from None


def settle(at: datetime, *, rules: ScheduleRules, now: datetime) -> datetime:
    """Return when a batch asked for `at` will start; raise `InvalidRequest` if it may not.

    The lead is measured before rounding. Without a lead a time that has passed means now.
    """
    if rules.lead and at - now < rules.lead:
        raise InvalidRequest(_too_soon(rules.lead))
    if at - now > HORIZON:
        raise InvalidRequest("Scheduled time should be at most 30 days in the future")
    return _round_up(max(at, now), rules.step)


def _round_up(at: datetime, step: timedelta) -> datetime:
    if not step:
        return at
    hour = at.replace(minute=0, second=0, microsecond=0)
    past_mark = (at - hour) % step
    # A step that does not divide the hour starts anew with each hour, as marks on a clock do.
    return at if not past_mark else min(at - past_mark + step, hour + timedelta(hours=1))


def _too_soon(lead: timedelta) -> str:
    if lead == VENDOR_LEAD:
        return TOO_SOON
    return f"Scheduled time should be atleast {lead.total_seconds():g} seconds in the future"
