from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.models import Kind
from batchyard.providers.sandbox import fate, print_labels
from tests.providers.requests import SENT_AT, make_call, make_shipment

SEED = "tests"


def test_fate_is_the_same_for_the_same_request_and_seed() -> None:
    assert fate(make_call(), SEED) == fate(make_call(), SEED)
    assert fate(make_shipment(), SEED) == fate(make_shipment(), SEED)


def test_fate_does_not_depend_on_delivery_or_time() -> None:
    later = replace(make_call(), delivery=3, sent_at=SENT_AT + timedelta(hours=1))
    assert fate(later, SEED) == fate(make_call(), SEED)


def test_fate_of_a_file_differs_by_seed() -> None:
    calls = [make_call(f"+1212555{n:04d}") for n in range(1, 400)]
    endings = [[fate(call, seed).ending.status for call in calls] for seed in ("a", "b")]
    assert endings[0] != endings[1]


def test_fate_is_the_same_whatever_the_key_but_for_references_and_codes() -> None:
    for ones in (
        [replace(make_call(), key=f"{n}.1") for n in range(49)],
        [replace(make_shipment(), key=f"{n}.1") for n in range(49)],
    ):
        fates = [fate(one, SEED) for one in ones]
        assert len({one.ending.reference for one in fates}) == 49
        assert len({(one.ending.status, one.ends_after_seconds) for one in fates}) == 1
        assert len({one.ending.result.get("cost_minor") for one in fates}) == 1


def test_lengths_differ_from_number_to_number_and_from_attempt_to_attempt() -> None:
    calls = [make_call(f"+1212555{n:02d}02", attempt=a) for n in range(50) for a in (1, 2)]
    assert len({fate(call, SEED).ends_after_seconds for call in calls}) == 100


@pytest.mark.parametrize(
    "digits,attempt,status,is_voicemail",
    [
        ("01", 1, "busy", False),
        ("02", 1, "no-answer", False),
        ("03", 1, "completed", True),
        ("04", 1, "completed", False),
        ("05", 1, "completed", False),
        ("06", 1, "completed", False),
        ("07", 1, "completed", False),
        ("08", 1, "failed", False),
        ("09", 1, "busy", False),
        ("09", 2, "completed", False),
        ("10", 1, "completed", False),
    ],
)
def test_last_digits_decide_the_ending(
    digits: str, attempt: int, status: str, *, is_voicemail: bool
) -> None:
    ending = fate(make_call(f"+121255501{digits}", attempt=attempt), SEED).ending
    assert ending.status == status
    assert ending.result["answered_by_voice_mail"] is is_voicemail


@pytest.mark.parametrize(
    "postal_code,attempt,status,error_code",
    [
        ("9801", 1, "booked", None),
        ("9802", 1, "booked", None),
        ("9803", 1, "booked", None),
        ("9804", 1, "booked", None),
        ("9805", 1, "booked", None),
        ("98 06", 1, "failed", "carrier_rejected"),
        ("9807", 1, "failed", "carrier_unavailable"),
        ("9807", 2, "booked", None),
        ("9990", 1, "failed", "address_refused"),
        ("994 23", 1, "failed", "address_refused"),
    ],
)
def test_postal_code_decides_the_ending(
    postal_code: str, attempt: int, status: str, error_code: str | None
) -> None:
    ending = fate(make_shipment(postal_code, attempt=attempt), SEED).ending
    assert (ending.status, ending.error_code) == (status, error_code)
    assert bool(ending.error_message) is (error_code is not None)


def test_ordinary_calls_are_spread_by_the_mix() -> None:
    numbers = [f"+1212{n:05d}{n % 80 + 20}" for n in range(6000)]
    endings = [fate(make_call(number), SEED).ending for number in numbers]
    share = Counter(
        "voicemail" if ending.result["answered_by_voice_mail"] else ending.status
        for ending in endings
    )
    for outcome, percent in {
        "completed": 70,
        "no-answer": 12,
        "busy": 8,
        "voicemail": 6,
        "failed": 4,
    }.items():
        assert share[outcome] / 60 == pytest.approx(percent, abs=2), outcome


def test_ordinary_bookings_are_spread_by_the_mix() -> None:
    endings = [fate(make_shipment(item=item), SEED).ending for item in range(3000)]
    share = Counter(ending.error_code for ending in endings)
    assert share[None] / 30 == pytest.approx(98, abs=1)
    assert share["carrier_rejected"] / 30 == pytest.approx(2, abs=1)
    assert share.total() == share[None] + share["carrier_rejected"]


def test_call_takes_lifelike_time_and_its_events_are_in_order() -> None:
    for item in range(300):
        decided = fate(make_call(f"+1212555{item:04d}", item=item), SEED)
        times = [event.after_seconds for event in decided.events]
        assert times == sorted(times)
        assert times[0] == 0
        assert times[-1] < decided.ends_after_seconds
        if decided.ending.status == "completed":
            assert 20 <= decided.ends_after_seconds <= 180
            assert [e.status for e in decided.events] == ["initiated", "ringing", "in-progress"]


def test_completed_call_tells_what_was_said_and_what_it_cost() -> None:
    call = make_call("+12125550104", payload={"first_name": "Åse", "appointment": "2026-12-03"})
    result = fate(call, SEED).ending.result
    assert isinstance(result["duration_seconds"], int)
    assert result["duration_seconds"] > 0
    assert result["cost_minor"] == -(-result["duration_seconds"] // 60) * 5
    assert result["currency"] == "USD"
    assert result["recording_url"] is None
    assert "Åse" in str(result["transcript"])
    assert "2026-12-03" in str(result["transcript"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)
SHIPMENT_LIKE = st.fixed_dictionaries(
    {},
    optional={
        "parcels": st.lists(st.fixed_dictionaries({}, optional={"gross_weight": JSON}), max_size=3)
        | JSON,
        "delivery": st.fixed_dictionaries({}, optional={"carrier": JSON, "service": JSON}),
        "reference": JSON,
        "parties": st.fixed_dictionaries(
            {},
            optional={
                "receiver": st.fixed_dictionaries({}, optional={"address": JSON, "contact": JSON})
            },
        ),
    },
)


@settings(max_examples=60)
@given(payload=SHIPMENT_LIKE)
def test_odd_shipments_neither_break_the_fate_nor_the_label(payload: dict[str, object]) -> None:
    request = replace(make_shipment(), payload=payload)
    fate(request, SEED)
    assert print_labels(request)


@settings(max_examples=60)
@given(payload=st.dictionaries(st.text(), JSON), number=st.none() | st.text())
def test_odd_calls_do_not_break_the_fate(payload: dict[str, object], number: str | None) -> None:
    request = replace(make_call(payload=payload), number=number)
    assert request.kind is Kind.CALL
    assert fate(request, SEED).ending.status
