"""Whom a team never calls, and how often it calls a number at most; pure, never bypassed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from batchyard.windows import EVERY_DAY

MAX_ATTEMPTS = 1000
"""A limit beyond this is no limit."""


class Block(StrEnum):
    """Why an item ends `canceled` instead of being sent; also codes of refused rows."""

    DO_NOT_CONTACT = "do_not_contact"
    ATTEMPTS_REACHED = "attempts_reached"
    COUNTRY_NOT_ALLOWED = "country_not_allowed"
    PREMIUM_RATE = "premium_rate"
    ZONE_UNKNOWN = "zone_unknown"


SENTENCES: Mapping[Block, str] = {
    Block.DO_NOT_CONTACT: "The number is on the team's do-not-contact list.",
    Block.ATTEMPTS_REACHED: "The number has been called as often as the team allows.",
    Block.COUNTRY_NOT_ALLOWED: "The number is in no country that the team allows.",
    Block.PREMIUM_RATE: "The number is premium rate, which the team does not call.",
    Block.ZONE_UNKNOWN: "No moment is known to be inside the calling window for the number.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TeamRules:
    """What a team has set; each rule is off unless set."""

    fallback_zone: str | None = None
    """Zone of numbers whose zones are unknown or share no moment of the window."""
    days: frozenset[int] = EVERY_DAY
    """Days of the week on which calls are made, 1 is Monday."""
    holidays: frozenset[date] = frozenset()
    attempts_per_day: int | None = None
    attempts_per_week: int | None = None
    countries: frozenset[str] | None = None
    """ISO 3166 codes of the only countries that are called."""
    refuses_premium: bool = False

    @property
    def limits_attempts(self) -> bool:
        """Whether attempts have to be counted."""
        return self.attempts_per_day is not None or self.attempts_per_week is not None

    @property
    def looks_at_numbers(self) -> bool:
        """Whether the number alone can be a reason not to call it."""
        return self.countries is not None or self.refuses_premium

    def judge(self, *, region: str | None, is_premium: bool) -> Block | None:
        """Return why a number is never called, looking at nothing but the number.

        `region` None, an unknown country, is none of the allowed ones.
        """
        if self.refuses_premium and is_premium:
            return Block.PREMIUM_RATE
        if self.countries is not None and region not in self.countries:
            return Block.COUNTRY_NOT_ALLOWED
        return None
