"""What counts say: bars that add up, paces, and how numbers and times are written."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.dashboard.charts import draw_throughput
from batchyard.dashboard.facts import group_facts, tell_amounts, tell_gist
from batchyard.dashboard.figures import BAR_LENGTH, LEAST_LENGTH, Figures, measure_pace, pace_since
from batchyard.dashboard.queries import Throughput
from batchyard.dashboard.voice import Voice
from batchyard.dashboard.words import STATES, STATUSES
from batchyard.lifecycle import STATUSES_BY_PHASE
from batchyard.models import BatchState

NOW = datetime(2026, 3, 4, 12, 30, 5, tzinfo=UTC)
KEYS = [f"{phase}/{word}" for phase, words in STATUSES_BY_PHASE.items() for word in sorted(words)]


def voice(language: str = "en") -> Voice:
    return Voice(language, timezone="Europe/Copenhagen", clock=lambda: NOW)


def test_every_state_and_status_has_a_word() -> None:
    assert set(STATES) == set(BatchState)
    assert set(STATUSES) == {word for words in STATUSES_BY_PHASE.values() for word in words}


@given(st.dictionaries(st.sampled_from(KEYS), st.integers(1, 2_000_000)))
def test_bar_shows_every_status_and_is_full(counts: dict[str, int]) -> None:
    figures = Figures(counts=counts)
    segments = list(figures.segments())
    assert sum(one.n for one in segments) == figures.total == sum(counts.values())
    assert all(one.length >= LEAST_LENGTH for one in segments)
    assert sum(one.length for one in segments) == (BAR_LENGTH if counts else 0)
    ends = [one.start + one.length for one in segments]
    assert [one.start for one in segments[1:]] == ends[:-1]


def test_figures_sort_items_by_what_they_mean() -> None:
    figures = Figures(
        counts={
            "done/booked": 5,
            "done/failed": 2,
            "ready/waiting": 7,
            "claimed/waiting": 1,
            "live/processing": 3,
            "unknown/unknown": 4,
        }
    )
    assert (figures.done, figures.failed, figures.unsent) == (7, 2, 7)
    assert (figures.in_flight, figures.unknown, figures.total) == (4, 4, 22)
    assert figures.by_status["waiting"] == 8


def test_pace_counts_whole_buckets_and_not_before_the_start() -> None:
    since = pace_since(NOW, timedelta(seconds=10))
    assert since == datetime(2026, 3, 4, 12, 29, tzinfo=UTC)
    pace = measure_pace(130, since=since, started_at=None, to_go=600, now=NOW)
    assert (pace.per_minute, pace.seconds_left) == pytest.approx((120, 300))
    young = measure_pace(10, since=since, started_at=NOW - timedelta(seconds=30), to_go=0, now=NOW)
    assert (young.per_minute, young.seconds_left) == (20, None)
    assert measure_pace(0, since=since, started_at=None, to_go=5, now=NOW).seconds_left is None


def test_chart_fills_gaps_and_leaves_out_what_is_not_complete() -> None:
    points = [
        Throughput(at=NOW + timedelta(seconds=shift), seconds=10, ok=6, failed=1)
        for shift in (0, 10, 40)
    ]
    ended = draw_throughput(points, is_running=False)
    running = draw_throughput(points, is_running=True)
    assert ended is not None
    assert running is not None
    assert ended.series.count("36.0") == 3
    start = int(NOW.timestamp())
    assert ended.series.startswith(f"[[{start},{start + 10},{start + 20},{start + 30},")
    assert running.series == f"[[{start},{start + 10}],[36.0,36.0],[6.0,6.0]]"
    assert ended.peak_per_minute == 42
    assert draw_throughput(points[:1], is_running=True) is None
    assert draw_throughput([], is_running=False) is None


@pytest.mark.parametrize(
    "part, whole, english, danish",
    [
        (0, 10, "0%", "0 %"),
        (1, 1_000_000, "<0.1%", "<0,1 %"),
        (999_999, 1_000_000, ">99.9%", ">99,9 %"),
        (1, 3, "33%", "33 %"),
        (1, 20, "5%", "5 %"),
        (7, 7, "100%", "100 %"),
        (0, 0, "0%", "0 %"),
    ],
)
def test_share_is_never_rounded_to_none_or_all(
    part: int, whole: int, english: str, danish: str
) -> None:
    assert voice().share(part, whole) == english
    assert voice("da").share(part, whole).replace("\N{NO-BREAK SPACE}", " ") == danish


def test_numbers_and_times_are_written_in_the_language_and_zone() -> None:
    at = NOW - timedelta(minutes=5)
    english, danish = voice(), voice("da")
    assert (english.number(1234567), danish.number(1234567)) == ("1,234,567", "1.234.567")
    assert english.say("{n} items", n=1234) == "1,234 items"
    assert danish.count(2, "1 item", "{n} items") == "2 elementer"
    assert (english.ago(at), danish.ago(at)) == ("5 minutes ago", "for 5 minutter siden")
    assert english.ago(NOW - timedelta(seconds=2)) == "just now"
    soon = NOW + timedelta(seconds=2)
    assert (english.ago(soon), danish.ago(soon)) == ("in a moment", "om et øjeblik")
    assert english.moment(at) == "4 Mar 2026, 13:25:05 CET"
    assert (english.clock(at), english.clock(at, exactly=True)) == ("13:25", "13:25:05")
    assert english.clock(at - timedelta(days=1)) == "3 Mar, 13:25"
    assert [english.lasting(n) for n in (0.05, 1.4, 75, 725, 7300, 40_000, 90_061)] == [
        "50 ms",
        "1 sec",
        "1 min 15 secs",
        "12 mins",
        "2 hrs 1 min",
        "11 hrs",
        "1 day 1 hr",
    ]
    assert [english.pace(n) for n in (0, 0.5, 2.56, 1234.4)] == [
        "0/min",
        "30/h",
        "2.6/min",
        "1,234/min",
    ]


def test_amounts_are_written_as_money_of_the_currency_they_are_in() -> None:
    price = voice().price
    answer = {"currency": "SEK", "price_minor": 4500, "parcels": [{"fee_minor": 5}], "n": 7}
    assert tell_amounts(answer, price, ending="_minor") == {
        "currency": "SEK",
        "price": "SEK\N{NO-BREAK SPACE}45.00",
        "parcels": [{"fee": "SEK\N{NO-BREAK SPACE}0.05"}],
        "n": 7,
    }
    assert tell_amounts({"currency": "JPY", "tax_amount": 52}, price, ending="_amount") == {
        "currency": "JPY",
        "tax_amount": "JP\N{YEN SIGN}52",
    }
    # A call may cost less than a cent; and without a currency nobody knows.
    assert price(1.35, "USD") == "US$0.0135"
    for unknown in ({"price_minor": 4500}, {"price_minor": 4500, "currency": "kroner"}):
        assert tell_amounts(unknown, price, ending="_minor") == unknown


def test_facts_are_grouped_and_in_the_order_of_the_file() -> None:
    flat = {"city": "Berlin", "empty": "", "first_name": "Zoë", "n": 3, "ok": True}
    assert group_facts(flat, columns=["first_name", "city"]) == [
        ("", [("first_name", "Zoë"), ("city", "Berlin"), ("n", "3"), ("ok", "yes")])
    ]
    nested = {"ref": "A", "parcels": [{"weight": 1, "tags": ["x", "y"]}], "to": {"city": "Oslo"}}
    assert group_facts(nested) == [
        ("", [("ref", "A")]),
        ("parcels 1", [("weight", "1"), ("tags", "x, y")]),
        ("to", [("city", "Oslo")]),
    ]
    assert tell_gist(flat, columns=["first_name"]).startswith("Zoë · Berlin")
    shipment = {"a": "b", "parties": {"receiver": {"address": {"city": "Oslo", "country": "NO"}}}}
    assert tell_gist(shipment) == "Oslo · NO"
