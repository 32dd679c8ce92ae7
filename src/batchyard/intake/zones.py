"""Which time zones a phone number's owner may be in."""

from functools import cache, lru_cache
from zoneinfo import available_timezones

from phonenumbers import PhoneNumberType
from phonenumbers.phonenumberutil import is_number_type_geographical
from phonenumbers.timezone import UNKNOWN_TIMEZONE
from phonenumbers.tzdata import TIMEZONE_DATA, TIMEZONE_LONGEST_PREFIX

KEPT_PREFIXES = 100_000


def zones_of(digits: str, *, country_code: int, kind: int) -> tuple[str, ...]:
    """Return every zone of a number of this `PhoneNumberType`; none when they are not known.

    `digits` are those after the plus. A number that follows its owner has all zones of its
    country. One zone that this machine's clock data does not have makes the whole answer unknown.
    """
    if kind == PhoneNumberType.UNKNOWN:
        return ()
    if is_number_type_geographical(kind, country_code):
        return _zones_by_prefix(digits[:TIMEZONE_LONGEST_PREFIX])
    return _zones_by_prefix(str(country_code))


@lru_cache(maxsize=KEPT_PREFIXES)
def _zones_by_prefix(digits: str) -> tuple[str, ...]:
    for size in range(len(digits), 0, -1):
        zones = TIMEZONE_DATA.get(digits[:size])
        if zones is not None:
            return _known(tuple(zones))
    return ()


def list_zone_sets() -> list[tuple[str, ...]]:
    """List every set of zones that a number can have."""
    return sorted({zones for zones in map(_known, set(TIMEZONE_DATA.values())) if zones})


@cache
def _known(zones: tuple[str, ...]) -> tuple[str, ...]:
    if UNKNOWN_TIMEZONE in zones or not _machine_zones().issuperset(zones):
        return ()
    return tuple(sorted(zones))


@cache
def _machine_zones() -> frozenset[str]:
    """Return the zones of this machine's clock data; listing them reads all its files."""
    return frozenset(available_timezones())
