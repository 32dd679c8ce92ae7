"""Which time zones a phone number's owner may be in."""

from functools import cache
from zoneinfo import available_timezones

from phonenumbers import PhoneNumber, PhoneNumberType
from phonenumbers.phonenumberutil import is_number_type_geographical
from phonenumbers.timezone import (
    UNKNOWN_TIMEZONE,
    time_zones_for_geographical_number,
    time_zones_for_number,
)
from phonenumbers.tzdata import TIMEZONE_DATA


def zones_of(number: PhoneNumber, *, kind: int) -> tuple[str, ...]:
    """Return every zone of a number of this `PhoneNumberType`; none when they are not known.

    A number that follows its owner has all zones of its country. One zone that this machine's
    clock data does not have makes the whole answer unknown.
    """
    if kind == PhoneNumberType.UNKNOWN:
        return ()
    if is_number_type_geographical(kind, number.country_code or 0):
        zones = time_zones_for_geographical_number(number)
    else:
        zones = time_zones_for_number(number)
    return _known(tuple(zones))


def list_zone_sets() -> list[tuple[str, ...]]:
    """List every set of zones that a number can have."""
    return sorted({zones for zones in map(_known, set(TIMEZONE_DATA.values())) if zones})


@cache
def _known(zones: tuple[str, ...]) -> tuple[str, ...]:
    if UNKNOWN_TIMEZONE in zones or not available_timezones().issuperset(zones):
        return ()
    return tuple(sorted(zones))
