"""Numbering plans of all countries, ready for millions of numbers.

The same rules and data as the library `phonenumbers`, compiled once; a test compares the two. What
is written in an unusual way, such as with a national prefix, is left to the library.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from phonenumbers import PhoneMetadata, PhoneNumberDesc, PhoneNumberType
from phonenumbers.phonenumberutil import COUNTRY_CODE_TO_REGION_CODE

NO_COUNTRY = "001"
"""What the metadata calls networks of the whole world, such as satellites."""

_COUNTRY_CODES = {str(code): code for code in COUNTRY_CODE_TO_REGION_CODE}
"""No code begins another one."""

_ORDER = (
    (PhoneNumberType.PREMIUM_RATE, "premium_rate"),
    (PhoneNumberType.TOLL_FREE, "toll_free"),
    (PhoneNumberType.SHARED_COST, "shared_cost"),
    (PhoneNumberType.VOIP, "voip"),
    (PhoneNumberType.PERSONAL_NUMBER, "personal_number"),
    (PhoneNumberType.PAGER, "pager"),
    (PhoneNumberType.UAN, "uan"),
    (PhoneNumberType.VOICEMAIL, "voicemail"),
)
"""In which order a number is looked for before it is an ordinary one."""


# A tuple: made for each row, and a frozen dataclass costs several times as much.
class PlannedNumber(NamedTuple):
    """A number of a possible length."""

    country_code: int
    region: str | None
    kind: int
    """A `PhoneNumberType`; unknown for a number in no assigned range."""


def find(digits: str) -> PlannedNumber | None:
    """Return what the digits after the plus are; None where the library has to decide."""
    for size in (1, 2, 3):
        country_code = _COUNTRY_CODES.get(digits[:size])
        if country_code is not None:
            return _country(country_code).find(digits[size:])
    return None


class _Range:
    """Numbers of one kind: their lengths and their pattern."""

    def __init__(self, desc: PhoneNumberDesc | None) -> None:
        pattern = None if desc is None else desc.national_number_pattern
        self._match = re.compile(pattern).fullmatch if pattern else None
        self._lengths = frozenset(desc.possible_length) if desc is not None else frozenset()

    def holds(self, national: str) -> bool:
        """Tell whether a number is of this kind."""
        if self._match is None or (self._lengths and len(national) not in self._lengths):
            return False
        return self._match(national) is not None


class _Special:
    """Numbers of several kinds, looked for all at once: one pattern for each length."""

    def __init__(self, kinds: Sequence[tuple[int, PhoneNumberDesc | None]]) -> None:
        self._kinds = [
            (kind, desc.national_number_pattern, frozenset(desc.possible_length))
            for kind, desc in kinds
            if desc is not None and desc.national_number_pattern
        ]
        self._matches: dict[int, Callable[[str], re.Match[str] | None] | None] = {}

    def find(self, national: str) -> int | None:
        """Return the first kind that a number is of."""
        size = len(national)
        if size not in self._matches:
            self._matches[size] = self._compiled(size)
        match = self._matches[size]
        found = None if match is None else match(national)
        # The patterns have no groups of their own, so the last one is the one of the kind.
        return None if found is None else self._kinds[int((found.lastgroup or "")[1:])][0]

    def _compiled(self, size: int) -> Callable[[str], re.Match[str] | None] | None:
        patterns = [
            f"(?P<k{place}>{pattern})"
            for place, (_, pattern, lengths) in enumerate(self._kinds)
            if not lengths or size in lengths
        ]
        return re.compile("|".join(patterns)).fullmatch if patterns else None


class _Plan:
    """The plan of one region."""

    def __init__(self, region: str, metadata: PhoneMetadata) -> None:
        self.region = region
        leading = metadata.leading_digits
        self.leading = None if leading is None else re.compile(leading).match
        self._general = _Range(metadata.general_desc)
        self._special = _Special([(kind, getattr(metadata, name)) for kind, name in _ORDER])
        self._fixed = _Range(metadata.fixed_line)
        self._mobile = _Range(metadata.mobile)
        self._is_mixed = bool(metadata.same_mobile_and_fixed_line_pattern)

    def kind(self, national: str) -> int:
        """Return the kind of a number."""
        if not self._general.holds(national):
            return PhoneNumberType.UNKNOWN
        special = self._special.find(national)
        if special is not None:
            return special
        if self._fixed.holds(national):
            is_either = self._is_mixed or self._mobile.holds(national)
            return PhoneNumberType.FIXED_LINE_OR_MOBILE if is_either else PhoneNumberType.FIXED_LINE
        if not self._is_mixed and self._mobile.holds(national):
            return PhoneNumberType.MOBILE
        return PhoneNumberType.UNKNOWN


class _Country:
    """All regions of one country calling code, the main one first."""

    def __init__(self, country_code: int, regions: Sequence[str]) -> None:
        self._code = country_code
        known = [
            (region, PhoneMetadata.metadata_for_region_or_calling_code(country_code, region))
            for region in regions
        ]
        self._plans = [_Plan(region, one) for region, one in known if one is not None]
        main = known[0][1]
        prefix = None if main is None else main.national_prefix_for_parsing
        self._prefix = re.compile(prefix).match if prefix else None
        desc = None if main is None else main.general_desc
        self._lengths = frozenset(desc.possible_length) if desc is not None else frozenset()

    def find(self, national: str) -> PlannedNumber | None:
        """Look a number up; None where it may mean another, or cannot be."""
        if len(national) not in self._lengths or national[0] == "0":
            return None
        if self._prefix is not None and self._prefix(national):
            return None
        region, kind = self._placed(national)
        return PlannedNumber(country_code=self._code, region=region, kind=kind)

    def _placed(self, national: str) -> tuple[str | None, int]:
        if len(self._plans) == 1:
            return self._plans[0].region, self._plans[0].kind(national)
        for plan in self._plans:
            if plan.leading is not None:
                if plan.leading(national):
                    return plan.region, plan.kind(national)
            elif (kind := plan.kind(national)) != PhoneNumberType.UNKNOWN:
                return plan.region, kind
        return None, PhoneNumberType.UNKNOWN


@cache
def _country(country_code: int) -> _Country:
    return _Country(country_code, COUNTRY_CODE_TO_REGION_CODE[country_code])
