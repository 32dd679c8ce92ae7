"""How a shipment is put to Karrio, and which one cannot be."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.errors import ConfigError
from batchyard.models import JsonObject
from batchyard.providers.karrio_orders import order_of
from batchyard.providers.karrio_settings import FORBIDDEN_OPTIONS, KarrioSettings, read_settings
from batchyard.providers.karrio_shapes import Unbookable
from batchyard.testing.conformance import ODD_PAYLOADS
from tests.providers.fakes.karrio_spec import MISSING, KarrioSpec, find_spec
from tests.providers.karrio_requests import SENDER, abroad, ask_for, changed

SETTINGS = KarrioSettings(url="http://karrio.example")

needs_spec = pytest.mark.skipif(find_spec() is None, reason=MISSING)


@pytest.fixture(scope="module")
def spec() -> KarrioSpec:
    file = find_spec()
    assert file is not None
    return KarrioSpec(file)


def order(payload: JsonObject, **settings: object) -> dict[str, Any]:
    given = SETTINGS.model_copy(update=settings)
    return order_of(ask_for(payload), given)


def test_order_names_one_connection_and_asks_for_a_rate_only() -> None:
    request = ask_for()

    body = order_of(request, SETTINGS)

    assert body["carrier_ids"] == ["post-nord"]
    assert body["services"] == ["standard_service"]
    assert "service" not in body
    assert body["metadata"] == {"batchyard_key": request.key}
    assert body["reference"] == "WEB-7"
    assert body["label_type"] == "PDF"
    assert body["options"] == {"currency": "DKK"}


def test_addresses_are_those_of_team_and_receiver() -> None:
    body = order(changed(parties__receiver__address__administrative_area="DK-84"))

    assert body["shipper"] == {
        "person_name": "Lager",
        "company_name": "Kop ApS",
        "address_line1": "Havnegade 1",
        "postal_code": "8000",
        "city": "Aarhus",
        "country_code": "DK",
        "phone_number": "+4586123456",
        "federal_tax_id": "DK12345678",
    }
    assert body["recipient"] == {
        "person_name": "Søren Ørsted",
        "address_line1": "Åboulevarden 1",
        "address_line2": "3. tv",
        "postal_code": "2100",
        "city": "København",
        "country_code": "DK",
        "state_code": "84",
        "phone_number": "+4520123456",
    }
    assert "return_address" not in body


def test_return_address_is_the_teams() -> None:
    body = order(changed(parties__sender={**SENDER, "return_to": {**SENDER}}))

    assert body["return_address"]["address_line1"] == "Havnegade 1"


@pytest.mark.parametrize(
    "unit,given,expected",
    [
        ("mm", 123, (12.3, "CM")),
        ("mm", 0.1, (0.01, "CM")),
        ("cm", 12.5, (12.5, "CM")),
        ("m", 0.3, (30.0, "CM")),
        ("m", 1.1, (110.0, "CM")),
        ("in", 7, (7.0, "IN")),
    ],
)
def test_lengths_are_converted_without_rounding(
    unit: str, given: float, expected: tuple[float, str]
) -> None:
    parcel = {"gross_weight": 1, "length": given, "width": given, "height": given}

    [body] = order(changed(dimension_unit=unit, parcels=[parcel]))["parcels"]

    assert (body["length"], body["dimension_unit"]) == expected
    assert body["width"] == body["height"] == body["length"]


@pytest.mark.parametrize("unit,expected", [("g", "G"), ("kg", "KG"), ("lb", "LB"), ("oz", "OZ")])
def test_weights_keep_their_unit(unit: str, expected: str) -> None:
    [body] = order(changed(weight_unit=unit, parcels=[{"gross_weight": 1.25}]))["parcels"]

    assert (body["weight"], body["weight_unit"]) == (1.25, expected)


def test_items_are_left_out_where_no_border_is_crossed() -> None:
    body = order(changed(parcels__0__items__0__net_weight=None))

    assert "customs" not in body
    assert "items" not in body["parcels"][0]


@pytest.mark.parametrize(
    "country,postal_code,is_needed",
    [
        ("DK", "2100", False),
        ("SE", "111 22", False),
        ("DE", "10115", False),
        ("MC", "98000", False),
        ("NO", "0150", True),
        ("CH", "8001", True),
        ("GB", "SW1A 1AA", True),
        ("GL", "3900", True),
        ("ES", "35001", True),
        ("ES", "28001", False),
        ("FI", "22100", True),
        ("DE", "27498", True),
        ("IT", "23041", True),
        ("US", "10001", True),
    ],
)
def test_customs_are_told_where_goods_cross_their_border(
    country: str, postal_code: str, *, is_needed: bool
) -> None:
    body = order(abroad(country, parties__receiver__address__postal_code=postal_code))

    assert ("customs" in body) is is_needed


def test_declaration_counts_pieces_and_their_worth() -> None:
    body = order(abroad(delivery__incoterm="DDP", invoice_number="F-1"))

    assert body["customs"] == {
        "commodities": [
            {
                "quantity": 2,
                "weight": 500.0,
                "weight_unit": "G",
                "value_amount": 125.5,
                "value_currency": "DKK",
                "origin_country": "DK",
                "title": "Cup",
                "description": "Cup",
                "hs_code": "691110",
            }
        ],
        "content_type": "merchandise",
        "duty": {"paid_by": "sender", "currency": "DKK", "declared_value": 251.0},
        "incoterm": "DDP",
        "invoice": "F-1",
    }


@pytest.mark.parametrize(
    "currency,amount,expected",
    [("DKK", 12550, 125.5), ("JPY", 12550, 12550.0), ("KWD", 12550, 12.55)],
)
def test_amounts_are_told_in_the_currencys_own_unit(
    currency: str, amount: int, expected: float
) -> None:
    payload = abroad(currency=currency, parcels__0__items__0__unit_net_amount=amount)

    [commodity] = order(payload)["customs"]["commodities"]

    assert commodity["value_amount"] == expected


def test_addons_are_options_by_name_or_by_setting() -> None:
    codes = [{"code": "signature_confirmation"}, {"code": "flex"}]

    body = order(
        changed(delivery__addons=codes),
        options={"insurance": 100},
        addons={"flex": {"postnord_flex": "1"}},
    )

    assert body["options"] == {
        "insurance": 100,
        "currency": "DKK",
        "signature_confirmation": True,
        "postnord_flex": "1",
    }


def test_service_point_goes_where_the_setting_says() -> None:
    payload = changed(parties__pickup={"service_point_code": "4711"})

    assert order(payload, pickup_option="locker_id")["options"]["locker_id"] == "4711"


LONG = "x" * 101
WHERE = "parties__receiver__"
ITEM = "parcels__0__items__0__"


@pytest.mark.parametrize(
    "payload,code,place",
    [
        (changed(parties__sender=None), "sender_missing", "batchyard sender set"),
        (changed(delivery__service=None), "service_missing", "delivery"),
        (
            changed(**{f"{WHERE}address__address_lines": ["a", "b", "c"]}),
            "address_too_long",
            "here are 3",
        ),
        (changed(**{f"{WHERE}address__address_lines": [LONG]}), "too_long", "address_lines.0"),
        (
            changed(**{f"{WHERE}address__address_lines": [" "]}),
            "address_missing",
            "parties.receiver",
        ),
        (changed(**{f"{WHERE}address__city": LONG}), "too_long", "parties.receiver.address.city"),
        (changed(**{f"{WHERE}address__postal_code": LONG}), "too_long", "address.postal_code"),
        (changed(**{f"{WHERE}contact__name_lines": [LONG]}), "too_long", "contact.name_lines"),
        (changed(**{f"{WHERE}contact__name_lines": [""]}), "name_missing", "contact.name_lines"),
        (
            changed(parties__sender__address__address_lines=["a", "b", "c"]),
            "address_too_long",
            "sender.address",
        ),
        (changed(parcels__0__gross_weight=None), "weight_missing", "parcels.0.gross_weight"),
        (changed(parcels__0__length=3), "dimensions_partial", "parcels.0.width"),
        (changed(weight_unit="stone"), "unit_unknown", "weight_unit"),
        (changed(reference=LONG), "too_long", "reference"),
        (
            changed(delivery__addons=[{"code": "gift_wrap"}]),
            "addon_unknown",
            "delivery.addons.0.code",
        ),
        (
            changed(delivery__addons=[{"code": "preferred_service"}]),
            "addon_unknown",
            "preferred_service",
        ),
        (
            changed(parties__pickup={"service_point_code": "1"}),
            "pickup_unsupported",
            "pickup_option",
        ),
        (abroad(parcels__0__items=None), "customs_items_missing", "parcels.0.items"),
        (
            abroad(**{f"{ITEM}net_weight": None}),
            "customs_weight_missing",
            "parcels.0.items.0.net_weight",
        ),
        (abroad(**{f"{ITEM}unit_net_amount": None}), "customs_value_missing", "unit_net_amount"),
        (abroad(**{f"{ITEM}net_weight": 700}), "customs_weight_exceeds", "1400"),
        (abroad(**{f"{ITEM}description": "x" * 201}), "too_long", "parcels.0.items.0.description"),
        (abroad(delivery__incoterm="DPU"), "incoterm_unsupported", "DPU"),
        (abroad(invoice_number=LONG), "too_long", "invoice_number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_shipment_that_does_not_fit_is_refused_with_code_place_and_cure(
    payload: JsonObject, code: str, place: str
) -> None:
    with pytest.raises(Unbookable) as fault:
        order(payload)

    assert fault.value.code == code
    assert place in fault.value.message


@pytest.mark.parametrize("name", sorted(FORBIDDEN_OPTIONS))
@pytest.mark.parametrize("setting", ["options", "addons", "pickup_option"])
def test_option_that_lets_karrio_buy_by_itself_is_no_setting(setting: str, name: str) -> None:
    values: dict[str, object] = {
        "options": {name: True},
        "addons": {"flex": {name: True}},
        "pickup_option": name,
    }

    with pytest.raises(ConfigError, match=name):
        read_settings("karrio", {"url": "http://karrio.example", setting: values[setting]})


@needs_spec
@pytest.mark.parametrize(
    "payload",
    [
        changed(),
        abroad(delivery__incoterm="DAP", invoice_number="F-1"),
        changed(parcels=[{"gross_weight": 2, "length": 1, "width": 2, "height": 3}] * 3),
        changed(parties__sender={**SENDER, "return_to": {**SENDER}}),
    ],
)
def test_order_keeps_to_the_specification(spec: KarrioSpec, payload: JsonObject) -> None:
    body = orjson.dumps(order(payload))

    assert spec.fault_of_request("POST", "/v1/shipments", body) is None


@needs_spec
@pytest.mark.parametrize(
    "change", [{"label_type": "pdf"}, {"shipper": None}, {"parcels": [{"weight": 1}]}]
)
def test_specification_refuses_what_is_wrong(spec: KarrioSpec, change: JsonObject) -> None:
    body = orjson.dumps(order(changed()) | dict(change))

    assert spec.fault_of_request("POST", "/v1/shipments", body) is not None


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
PLACES = [
    "parcels",
    "parcels__0",
    "parcels__0__items",
    "parcels__0__items__0",
    "parcels__0__gross_weight",
    f"{ITEM}quantity",
    f"{ITEM}net_weight",
    f"{ITEM}unit_net_amount",
    "parties__receiver",
    f"{WHERE}address",
    f"{WHERE}contact__name_lines",
    "parties__sender",
    "delivery",
    "delivery__addons",
    "currency",
    "weight_unit",
    "dimension_unit",
]


@settings(max_examples=150)
@given(place=st.sampled_from(PLACES), value=ANYTHING)
def test_any_payload_becomes_an_order_or_a_sentence(place: str, value: object) -> None:
    payload = abroad()
    if value is not None:
        payload = abroad(**{place: value})
    try:
        told: object = order(payload)
    except Unbookable as fault:
        told = [fault.code, fault.message]

    assert orjson.dumps(told)


@pytest.mark.parametrize("odd", ODD_PAYLOADS)
def test_odd_payload_with_a_sender_is_refused(odd: JsonObject) -> None:
    with pytest.raises(Unbookable):
        order({**odd, "parties": {"sender": SENDER}})
