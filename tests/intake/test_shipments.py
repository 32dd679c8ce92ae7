"""The verdict on each row of a list of shipments."""

from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest

from batchyard.intake.blocks import CheckedBlock, FileCheck
from batchyard.intake.check import check_rows
from batchyard.intake.columns import Columns, name_columns
from batchyard.intake.flat import leaf_of, list_columns, nest, unnest
from batchyard.intake.records import Record
from batchyard.models import Kind

NOW = datetime(2026, 1, 2, tzinfo=UTC)
COLUMNS = Columns(kind=Kind.SHIPMENT)
OFFER = {"postnord": {"home", "pickup"}}
CELLS = {
    "reference": "R-1",
    "currency": "dkk",
    "carrier": "PostNord",
    "service": "home",
    "name": "Bo",
    "address": "Vej 1",
    "postcode": "1234",
    "city": "By",
    "country": "dk",
    "phone": "+45 20 12 34 56",
    "weight": "1,5",
    "parcels.0.items.0.description": "",
    "parcels.0.items.0.quantity": "",
    "parcels.1.gross_weight": "",
    "note": "unknown column",
}


def check(**changes: str) -> CheckedBlock:
    header = name_columns(list(CELLS), COLUMNS)
    file = FileCheck(batch_id=UUID(int=1), team_id=7, header=header, columns=COLUMNS, offer=OFFER)
    row: Record = (2, list({**CELLS, **changes}.values()), None)
    return check_rows([row], file=file, now=NOW)


def check_object(found: dict[str, object]) -> CheckedBlock:
    file = FileCheck(batch_id=UUID(int=1), team_id=7, header=None, columns=COLUMNS, offer=OFFER)
    return check_rows([(1, found, None)], file=file, now=NOW)


def payload_of(block: CheckedBlock) -> dict[str, object]:
    text = block.items.data.split(b"\t")[7].replace(b"\\\\", b"\\")
    found: dict[str, object] = orjson.loads(text)
    return found


def test_flat_row_becomes_a_shipment() -> None:
    block = check()
    assert block.rejected == ()
    payload = payload_of(block)
    cells = unnest(payload)
    assert cells["currency"] == "DKK"
    assert cells["delivery.carrier"] == "postnord"
    assert cells["parties.receiver.contact.phone"] == "+4520123456"
    assert cells["parties.receiver.address.country"] == "DK"
    assert cells["parcels.0.gross_weight"] == 1.5
    assert len(payload["parcels"]) == 1  # type: ignore[arg-type]  # a list
    assert block.items.data.split(b"\t")[6] == b"R-1"


def test_second_parcel_comes_from_its_columns() -> None:
    cells = unnest(payload_of(check(**{"parcels.1.gross_weight": "700"})))
    assert [cells[f"parcels.{n}.gross_weight"] for n in (0, 1)] == [1.5, 700]


@pytest.mark.parametrize(
    "changes,code,told",
    [
        ({"country": "XX"}, "country_unknown", "parties.receiver.address.country"),
        ({"currency": "ABC"}, "currency_unknown", "currency"),
        ({"carrier": "fast"}, "carrier_unknown", "delivery.carrier"),
        ({"service": "rocket"}, "service_unknown", "delivery.service"),
        ({"city": ""}, "value_missing", "parties.receiver.address.city"),
        ({"name": " "}, "value_missing", "parties.receiver.contact"),
        ({"weight": "heavy"}, "number_malformed", "parcels.0.gross_weight"),
        ({"weight": "0"}, "number_out_of_range", "parcels.0.gross_weight"),
        ({"city": "x" * 300}, "value_too_long", "parties.receiver.address.city"),
        ({"phone": "12"}, "phone_malformed", "parties.receiver.contact.phone"),
        (
            {"parcels.0.items.0.description": "Mug", "parcels.0.items.0.quantity": "1.5"},
            "number_malformed",
            "parcels.0.items.0.quantity",
        ),
        ({"note": "=cmd()"}, "formula_cell", "formula"),
        ({"note": "a\0b"}, "nul_character", "NUL"),
    ],
)
def test_faulty_row_is_refused_with_its_code_and_column(
    changes: dict[str, str], code: str, told: str
) -> None:
    (refused,) = check(**changes).rejected
    assert refused.code == code
    assert told in refused.reason


def test_every_fault_of_a_row_is_told() -> None:
    (refused,) = check(country="XX", currency="ABC", weight="x").rejected
    assert all(name in refused.reason for name in ("country", "currency", "gross_weight"))


@pytest.mark.parametrize(
    "country,code,is_odd",
    [
        ("DK", "1234", False),
        ("DK", "12345", True),
        ("GB", "SW1A 1AA", False),
        ("GB", "99", True),
        ("SE", "903 26", False),
        ("HK", "anything", False),
    ],
)
def test_odd_postal_code_is_only_warned_about(country: str, code: str, is_odd: bool) -> None:
    block = check(country=country, postcode=code)
    assert block.items.count == 1
    assert [one.code for one in block.warnings] == ["postal_code_format"] * is_odd


def test_objects_have_the_shape_of_the_contract_or_flat_names() -> None:
    whole = payload_of(check())
    block = check_object(whole)
    assert block.rejected == ()
    cells = unnest(whole)
    flat = {
        name: str(cells[name])
        for name in list_columns()
        if cells.get(name) and not name.startswith("parcels.0.items")
    }
    assert check_object(dict(flat)).rejected == ()
    (refused,) = check_object({**whole, "currency": "x"}).rejected
    assert refused.code == "currency_unknown"
    assert isinstance(refused.cells, dict)


def test_every_column_is_one_that_can_be_filled_and_read_back() -> None:
    columns = list(list_columns())
    assert len(columns) > 50
    assert all(leaf_of(column) is not None for column in columns)
    for column in columns:
        leaf = leaf_of(column)
        text = "7" if leaf in {int, float} else "a" if column != "currency" else "A"
        nested = nest([column], [text])
        shown = str(unnest(nested)[column])
        assert shown.removesuffix(".0").lower() == text.lower(), column


@pytest.mark.parametrize(
    "column",
    [
        "",
        "x",
        "parcels",
        "parcels.x",
        "parcels.0",
        "currency.0",
        "parcels.0.items.0.x",
        "delivery",
        "parcels.9999.length",
    ],
)
def test_what_no_shipment_has_is_no_column(column: str) -> None:
    assert leaf_of(column) is None
