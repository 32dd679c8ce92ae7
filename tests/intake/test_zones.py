"""The zones a number's owner may be in."""

from zoneinfo import ZoneInfo

import pytest

from batchyard.intake import zones
from batchyard.intake.phones import PhoneNumber, read_number
from batchyard.intake.zones import list_zone_sets


def read(text: str) -> PhoneNumber:
    number = read_number(text)
    assert not isinstance(number, str)
    return number


@pytest.mark.parametrize(
    "text,expected",
    [
        ("+4520123456", {"Europe/Copenhagen"}),
        ("+12125550123", {"America/New_York"}),
        ("+18085550123", {"Pacific/Honolulu"}),
        ("+441624675663", {"Europe/Isle_of_Man"}),
        ("+61261234567", {"Australia/Sydney"}),
    ],
)
def test_fixed_line_has_the_zone_of_its_place(text: str, expected: set[str]) -> None:
    assert set(read(text).zones) == expected


def test_mobile_number_may_be_anywhere_in_its_country() -> None:
    assert {"Australia/Perth", "Australia/Sydney"} <= set(read("+61412345678").zones)


def test_toll_free_number_has_every_zone_of_its_numbering_plan() -> None:
    assert {"America/New_York", "Pacific/Guam", "America/St_Johns"} <= set(
        read("+18005551234").zones
    )


@pytest.mark.parametrize("text", ["+870773111632", "+883510012345678", "+11112223333"])
def test_number_of_no_place_has_no_zone(text: str) -> None:
    assert read(text).zones == ()


def test_every_set_of_zones_is_known_to_this_machine() -> None:
    sets = list_zone_sets()
    assert len(sets) > 300
    assert len(set(sets)) == len(sets)
    for zone in {zone for zone_set in sets for zone in zone_set}:
        assert ZoneInfo(zone).key == zone
    assert all(zone_set == tuple(sorted(zone_set)) for zone_set in sets)


def forget() -> None:
    zones._machine_zones.cache_clear()
    zones._known.cache_clear()
    zones._zones_by_prefix.cache_clear()


def test_zone_that_this_machine_does_not_know_makes_the_number_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zones, "available_timezones", lambda: {"Europe/Oslo"})
    forget()
    try:
        assert read("+4520123456").zones == ()
        assert read("+4722123456").zones == ("Europe/Oslo",)
    finally:
        forget()


@pytest.mark.parametrize(
    "text,region,is_premium",
    [
        ("+4590123456", "DK", True),
        ("+4520123456", "DK", False),
        ("+19005551234", "US", True),
        ("+870773111632", None, False),
        ("+447700900123", None, False),
    ],
)
def test_number_tells_its_country_and_whether_it_costs(
    text: str, region: str | None, is_premium: bool
) -> None:
    number = read(text)
    assert (number.region, number.is_premium) == (region, is_premium)
