import json
from collections import Counter
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, cast

import phonenumbers
import pytest

from batchyard.providers.sandbox_shipments import REFUSED_PREFIX
from tools import example_shipments

SHIPMENTS = Path(__file__).parents[2] / "examples" / "shipments.json"
Shipment = Mapping[str, Any]


@pytest.fixture(scope="module")
def shipments() -> list[Shipment]:
    body = json.loads(SHIPMENTS.read_text(encoding="utf-8"))
    assert list(body) == ["data"]
    return cast("list[Shipment]", body["data"])


def address(shipment: Shipment) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", shipment["parties"]["receiver"]["address"])


def test_file_is_what_its_maker_makes() -> None:
    assert SHIPMENTS.read_bytes() == example_shipments.make_shipments()


def test_file_has_200_shipments_to_5_countries(shipments: list[Shipment]) -> None:
    assert len(shipments) == 200
    countries = Counter(address(shipment)["country"] for shipment in shipments)
    assert set(countries) == {"DK", "SE", "NO", "FI", "DE"}
    assert min(countries.values()) >= 20


def test_shipments_have_1_to_3_parcels_with_their_weights(shipments: list[Shipment]) -> None:
    assert set(Counter(len(shipment["parcels"]) for shipment in shipments)) == {1, 2, 3}
    for shipment in shipments:
        for parcel in shipment["parcels"]:
            goods = sum(item["quantity"] * item["net_weight"] for item in parcel["items"])
            assert isinstance(parcel["gross_weight"], int)
            assert parcel["gross_weight"] > goods


def test_amounts_are_whole_and_add_up(shipments: list[Shipment]) -> None:
    for shipment in shipments:
        parcels = shipment["parcels"]
        for total in ("total_net_amount", "tax_amount"):
            assert isinstance(shipment[total], int)
            assert shipment[total] == sum(parcel[total] for parcel in parcels)
        for parcel in parcels:
            assert parcel["total_net_amount"] == sum(
                item["quantity"] * item["unit_net_amount"] for item in parcel["items"]
            )
    assert {s["currency"] for s in shipments} == {"DKK", "SEK", "NOK", "EUR"}


def test_services_are_in_the_catalogue(shipments: list[Shipment]) -> None:
    file = resources.files("batchyard.intake").joinpath("catalogue.json")
    catalogue = json.loads(file.read_text(encoding="utf-8"))
    known = {
        (carrier["code"], service["code"])
        for carrier in catalogue["carriers"]
        for service in carrier["services"]
    }
    used = {(s["delivery"]["carrier"], s["delivery"]["service"]) for s in shipments}
    assert used <= known
    assert {carrier for carrier, _ in used} == {"postnord", "gls", "dao", "bring", "dhl"}


def test_a_few_go_where_the_sandbox_refuses(shipments: list[Shipment]) -> None:
    codes = [address(shipment)["postal_code"] for shipment in shipments]
    assert sum(code.startswith(REFUSED_PREFIX) for code in codes) == 7


def test_references_are_unique(shipments: list[Shipment]) -> None:
    assert len({shipment["reference"] for shipment in shipments}) == 200


def test_people_have_accents_and_cannot_be_reached(shipments: list[Shipment]) -> None:
    contacts = [shipment["parties"]["receiver"]["contact"] for shipment in shipments]
    assert sum(not contact["name_lines"][0].isascii() for contact in contacts) > 100
    for contact in contacts:
        assert contact["email"].endswith("@example.com")
        assert contact["email"].isascii()
        if "phone" in contact:
            assert phonenumbers.is_valid_number(phonenumbers.parse(contact["phone"]))
