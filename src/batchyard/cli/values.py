"""Values of options as people write them: rates, durations, lists of statuses, words."""

import json
import re
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TypeVar

from batchyard.errors import InvalidRequest
from batchyard.models import Rate
from batchyard.schedule import is_in_calendar
from batchyard.windows import EVERY_DAY

Word = TypeVar("Word", bound=StrEnum)

RATE = re.compile(r"([1-9][0-9]{0,8})/(s|min|h|day)")
RATE_SECONDS = {"s": 1, "min": 60, "h": 3600, "day": 86400}

DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(s|m|h|d)")
DURATION_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

STATUSES = re.compile(r"\s*[0-9]{3}\s*(?:,\s*[0-9]{3}\s*)*")

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def read_rate(text: str) -> Rate:
    """Read `5/s`, `100/min`, `1000/h` or `10000/day`; raise `InvalidRequest`."""
    match = RATE.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"{text!r} is no rate such as 5/s, 100/min, 1000/h or 10000/day.")
    return Rate(count=int(match[1]), seconds=RATE_SECONDS[match[2]])


def show_rate(*, count: int, seconds: int) -> str:
    """Write a rate as it is read."""
    units = {seconds: unit for unit, seconds in RATE_SECONDS.items()}
    return f"{count}/{units.get(seconds, f'{seconds} s')}"


def read_duration(text: str) -> float:
    """Read `30s`, `2m`, `24h` or `7d` as seconds; raise `InvalidRequest`."""
    match = DURATION.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"{text!r} is no duration such as 30s, 2m, 24h or 7d.")
    return float(match[1]) * DURATION_SECONDS[match[2]]


def read_statuses(text: str) -> list[int]:
    """Read HTTP statuses with commas between them, or none; raise `InvalidRequest`."""
    if not text.strip():
        return []
    if STATUSES.fullmatch(text) is None:
        raise InvalidRequest(f"{text!r} is no list of HTTP statuses such as 409,423.")
    return sorted({int(status) for status in text.split(",")})


def read_count(text: str) -> int | None:
    """Read a number above zero, or `off` as None; raise `InvalidRequest`."""
    if text == "off":
        return None
    if re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) is None or int(text) == 0:
        raise InvalidRequest(f"{text!r} is no number above zero, and not off.")
    return int(text)


def read_time(text: str) -> datetime:
    """Read an ISO 8601 time, without an offset UTC; raise `InvalidRequest`."""
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"{text!r} is no time such as 2030-01-29T08:30:00Z.") from error
    if not is_in_calendar(at):
        raise InvalidRequest(f"{text!r} is too far away.")
    return at


def read_dates(text: str) -> frozenset[date]:
    """Read dates with commas between them, or `none`; raise `InvalidRequest`."""
    if text == "none":
        return frozenset()
    try:
        return frozenset(date.fromisoformat(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise InvalidRequest(f"{text!r} is no list of dates such as 2026-12-24.") from error


def read_countries(text: str) -> frozenset[str] | None:
    """Read country codes with commas between them, or `all` as None."""
    if text == "all":
        return None
    return frozenset(part.strip().upper() for part in text.split(",") if part.strip())


def read_days(text: str) -> frozenset[int]:
    """Read `mon-fri`, `mon,wed` or `all` as days, Monday is 1; raise `InvalidRequest`."""
    if text == "all":
        return EVERY_DAY
    days: set[int] = set()
    for part in text.lower().split(","):
        ends = [piece.strip() for piece in part.split("-", 1)]
        if not set(ends) <= set(WEEK):
            raise InvalidRequest(f"{text!r} names no days such as mon-fri or mon,wed.")
        start, end = WEEK.index(ends[0]), WEEK.index(ends[-1])
        if end < start:
            raise InvalidRequest(f"{part.strip()!r} ends before it starts; write both parts.")
        days.update(range(start + 1, end + 2))
    return frozenset(days)


def show_days(days: Collection[int]) -> str:
    """Write days of the week as they are read."""
    return ",".join(WEEK[day - 1] for day in sorted(days))


def read_setting(text: str) -> tuple[str, object]:
    """Read `name=value`, the value as JSON where it is some; raise `InvalidRequest`."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidRequest(f"{text!r} is no setting such as look_up_after_seconds=30.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def word_of(words: type[Word], *, what: str) -> Callable[[str], Word]:
    """Return a reader of one of these words; it raises `InvalidRequest` naming them."""

    def read(text: str) -> Word:
        try:
            return words(text)
        except ValueError as error:
            known = ", ".join(words)
            raise InvalidRequest(f"There is no {what} {text!r}. Known: {known}.") from error

    return read


def show_span(seconds: float) -> str:
    """Write how long something takes, in its two largest units: `2 h 5 min`."""
    rest = max(0, round(seconds))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        n, rest = divmod(rest, size)
        if n:
            parts.append(f"{n} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"
