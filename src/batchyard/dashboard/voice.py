"""What pages say: texts, numbers and times, in the visitor's language and the team's time zone."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from babel.dates import format_datetime, format_skeleton, format_timedelta, get_day_names
from babel.numbers import (
    format_currency,
    format_decimal,
    format_percent,
    get_currency_precision,
)
from babel.units import format_unit

from batchyard.language import Catalogue

CATALOGUE = Catalogue("batchyard.dashboard", domain="dashboard")

LOCALES = {"en": "en_GB", "da": "da_DK"}
"""English is written with the day before the month, as most of the world does."""

JUST_NOW = timedelta(seconds=10)
UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
COARSE = 10
LETTERS_TO_DIGITS = re.compile(r"(?<=[^\W\d_])(?=\d)")
SMALLEST_SHARE, LARGEST_SHARE = 0.001, 0.999
"""What is beyond is told as `<0.1 %` and `>99.9 %`."""


class Voice:
    """Speaks one language, in one time zone."""

    def __init__(self, language: str, *, timezone: str, clock: Callable[[], datetime]) -> None:
        self.language = language
        self.timezone = timezone
        self._clock = clock
        self._locale = LOCALES[language]
        self._zone = ZoneInfo(timezone)

    def say(self, text: str, /, **values: object) -> str:
        """Return an English text in this language; whole numbers in its gaps are written out."""
        written = {
            name: self.number(value) if type(value) is int else value
            for name, value in values.items()
        }
        return CATALOGUE.translate(text, language=self.language, **written)

    def count(self, n: int, one: str, many: str) -> str:
        """Say how many: `one` of exactly one, else `many`; `{n}` is the number."""
        return self.say(one if n == 1 else many, n=n)

    def number(self, n: float) -> str:
        """Write a number with its thousands apart, and at most one decimal."""
        return str(format_decimal(n, format="#,##0.#", locale=self._locale))

    def money(self, minor: float, currency: str) -> str:
        """Write an amount that is given in the smallest unit of its currency."""
        amount = minor / 10 ** get_currency_precision(currency)
        return str(format_currency(amount, currency, locale=self._locale))

    def price(self, minor: float, currency: str) -> str:
        """Write such an amount exactly, with the fractions of the smallest unit."""
        amount = Decimal(str(minor)).scaleb(-get_currency_precision(currency))
        written = format_currency(amount, currency, locale=self._locale, decimal_quantization=False)
        # CLDR sets letters apart from digits; Babel does not.
        return LETTERS_TO_DIGITS.sub("\N{NO-BREAK SPACE}", written)

    def share(self, part: int, whole: int) -> str:
        """Write a share as per cent; a little is never told as nothing, most never as all."""
        if not part or not whole:
            return self._percent(0)
        share = part / whole
        if share < SMALLEST_SHARE:
            return f"<{self._percent(SMALLEST_SHARE)}"
        if part < whole and share > LARGEST_SHARE:
            return f">{self._percent(LARGEST_SHARE)}"
        digits = 3 if share < 0.1 or share > 0.99 else 2  # 4.8 %, 33 %, 99.3 %
        return self._percent(round(share, digits))

    def _percent(self, share: float) -> str:
        return str(format_percent(share, decimal_quantization=False, locale=self._locale))

    def moment(self, at: datetime) -> str:
        """Write a time exactly, with its zone."""
        return str(
            format_datetime(
                at, format="d MMM y, HH:mm:ss z", tzinfo=self._zone, locale=self._locale
            )
        )

    def clock(self, at: datetime, *, exactly: bool = False) -> str:
        """Write a time shortly: today's by the clock, others with their day."""
        local, today = at.astimezone(self._zone), self._clock().astimezone(self._zone)
        told = self._by("Hms" if exactly else "Hm", at)
        if local.date() == today.date():
            return told
        day = self._by("MMMd" if local.year == today.year else "yMMMd", at)
        return f"{day}, {told}"

    def _by(self, skeleton: str, at: datetime) -> str:
        return str(format_skeleton(skeleton, at, tzinfo=self._zone, locale=self._locale))

    def ago(self, at: datetime) -> str:
        """Say how long ago it was, or how long it is until then."""
        distance = at - self._clock()
        if abs(distance) < JUST_NOW:
            return self.say("in a moment" if distance > timedelta(0) else "just now")
        return str(
            format_timedelta(distance, add_direction=True, threshold=1.2, locale=self._locale)
        )

    def weekdays(self) -> Sequence[tuple[int, str]]:
        """Name the days of the week with their numbers, Monday is 1."""
        names = get_day_names(context="stand-alone", locale=self._locale)
        return [(day + 1, str(names[day])) for day in range(7)]

    def lasting(self, seconds: float) -> str:
        """Say how long something lasts: 40 ms, 12 sec, 3 min 20 sec, 5 hr."""
        if seconds < 1:
            return self._unit(round(seconds * 1000), "millisecond")
        rest, told = round(seconds), list[str]()
        for unit, length in UNITS:
            n, rest = divmod(rest, length)
            if n:
                told.append(self._unit(n, unit))
            # Of many hours nobody wants to know the minutes.
            if told and (n >= COARSE or len(told) == 2):  # two units
                break
        return " ".join(told)

    def _unit(self, n: int, unit: str) -> str:
        return str(format_unit(n, f"duration-{unit}", length="short", locale=self._locale))

    def pace(self, per_minute: float) -> str:
        """Say how fast something goes."""
        if per_minute >= 1 or not per_minute:
            rounded = round(per_minute) if per_minute >= 10 else round(per_minute, 1)
            return self.say("{n}/min", n=self.number(rounded))
        return self.say("{n}/h", n=self.number(round(per_minute * 60)))
