"""Contract, section 4: what a shipment may be, and how it comes back."""

from typing import Any
from uuid import UUID

import orjson
import pytest

from batchyard.intake.codes import countries, currencies
from batchyard.models import BatchState, Phase
from batchyard.store.db import Database
from tests.api.smartsend.conftest import SHIPMENT, Client, make_shipment
from tests.factories import make_batch, make_items

FULL: dict[str, Any] = {
    "currency": "EUR",
    "weight_unit": "kg",
    "dimension_unit": "in",
    "invoice_number": "INV-1",
    "reference": "order-7",
    "identifier": "erp-7",
    "uri": "https://shop.example/orders/7?" + "x" * 2000,
    "delivery": {
        "carrier": "gls",
        "service": "parcelshop",
        "addons": [{"code": "sms_notification"}, {"code": "house_special"}],
        "incoterm": "DAP",
    },
    "parties": {
        "receiver": {
            "reference": "customer-1",
            "identifier": "c1",
            "uri": "https://shop.example/customers/1",
            "address": {
                "address_lines": ["Storgata 1", "c/o Åse", "", "4. etasje"],
                "postal_code": "0155",
                "city": "Oslo",
                "country": "NO",
                "administrative_area": "Oslo",
            },
            "contact": {
                "name_lines": ["Åse Ødegård"],
                "company": "Ødegård AS",
                "email": "aase@example.no",
                "phone": "+4721000000",
            },
            "identifiers": {
                "vat": "NO1",
                "eori": "E",
                "gb_eori": "GB1",
                "tax_id": "T",
                "voec": "V",
            },
        },
        "pickup": {
            "service_point_code": "4711",
            "company": "Kiosk",
            "address": {
                "address_lines": ["Karl Johans gate 2"],
                "postal_code": None,
                "city": "Oslo",
                "country": "NO",
                "administrative_area": None,
            },
        },
    },
    "parcels": [
        {
            "reference": "p1",
            "identifier": "p1",
            "tracking_url": "https://shop.example/p1",
            "freetext": "Forsigtig",
            "gross_weight": 1.25,
            "length": 30,
            "width": 20,
            "height": 1e308,
            "total_net_amount": 10000,
            "tax_amount": 2500,
            "duty_amount": 0,
            "items": [
                {
                    "sku": "K1",
                    "description": "Kop",
                    "quantity": 2,
                    "net_weight": 0.5,
                    "unit_net_amount": 5000,
                    "country_of_origin": "DK",
                    "hs_code": "691110",
                }
            ],
        }
    ],
    "total_net_amount": 10000,
    "tax_amount": 2500,
    "duty_amount": 0,
    "shipping_net_amount": 4900,
    "shipping_tax_amount": -1,
}


async def add_one(client: Client, shipment: dict[str, Any]) -> dict[str, Any]:
    answer = await client.add(await client.make_batch(), shipment)
    assert answer.status_code == 201, answer.text
    added: dict[str, Any] = answer.json()["data"][0]
    return added


async def test_an_integer_may_be_written_as_a_decimal(client: Client) -> None:
    added = await add_one(client, make_shipment(parcels__0__tax_amount=250.0))

    assert added["parcels"][0]["tax_amount"] == 250
    assert isinstance(added["parcels"][0]["tax_amount"], int)


async def test_a_shipment_comes_back_with_all_it_was_given(client: Client) -> None:
    added = await add_one(client, FULL | {"unknown": {"key": 1}})

    [parcel] = added.pop("parcels")
    assert UUID(added.pop("uuid")) != UUID(parcel.pop("uuid"))
    assert added.pop("state") == "open"
    assert added.pop("delivery") == {
        "carrier_code": "gls",
        "carrier_name": "GLS",
        "carrier_logo_url": None,
        "carrier_icon_url": None,
        "service_code": "parcelshop",
        "service_name": "Parcel shop",
        "is_pickup": True,
        "is_return": False,
        "incoterm": "DAP",
        "addons": [
            {"code": "sms_notification", "name": "Notice by text message"},
            {"code": "house_special", "name": "house_special"},
        ],
    }
    tracking = {"tracking_code": None, "tracking_url": None}
    assert parcel == FULL["parcels"][0] | tracking
    changed = {"parcels", "delivery"}
    assert added == {name: value for name, value in FULL.items() if name not in changed}


async def test_a_stored_shipment_is_the_one_that_was_answered(client: Client) -> None:
    added = await add_one(client, make_shipment(parcels__0__gross_weight=1200.0))

    answer = await client.get(f"/shipments/{added['uuid']}")

    assert answer.status_code == 200
    assert answer.json() == {"data": {**added, "errors": []}}
    assert list(answer.json()["data"]) == [*added, "errors"]
    assert '"gross_weight":1200,' in answer.text


async def test_what_may_be_left_out_is_null_and_units_have_defaults(client: Client) -> None:
    added = await add_one(client, SHIPMENT)

    assert (added["weight_unit"], added["dimension_unit"]) == ("g", "cm")
    assert added["parties"]["pickup"] is None
    assert added["parcels"][0]["items"][0]["hs_code"] is None
    assert added["delivery"]["addons"] == []


async def test_names_of_services_are_translated(client: Client) -> None:
    added = await add_one(client, SHIPMENT)

    danish = await client.get(f"/shipments/{added['uuid']}", headers={"Accept-Language": "da"})

    assert added["delivery"]["service_name"] == "Home delivery"
    assert danish.json()["data"]["delivery"]["service_name"] == "Hjemmelevering"


@pytest.mark.parametrize(
    "change, errors",
    [
        ({"currency": "KR"}, {"currency": "This is no currency code of ISO 4217."}),
        ({"currency": "dkk"}, {"currency": "This is no currency code of ISO 4217."}),
        ({"weight_unit": "st"}, {"weight_unit": "This must be one of: g, kg, lb, oz."}),
        ({"dimension_unit": None}, {"dimension_unit": "This must be one of: mm, cm, m, in."}),
        ({"uri": "x" * 2049}, {"uri": "This must have at most 2048 characters."}),
        ({"delivery__carrier": "ups"}, {"delivery.carrier": "There is no such carrier."}),
        ({"delivery__service": "pickup"}, {"delivery.service": "The carrier has no such service."}),
        (
            {"delivery": {"carrier": "ups", "service": 1, "addons": [{}], "incoterm": "DAT"}},
            {
                "delivery.carrier": "There is no such carrier.",
                "delivery.service": "This must be a string.",
                "delivery.addons.0.code": "This field is required.",
                "delivery.incoterm": "This must be one of: "
                "EXW, FCA, CPT, CIP, DAP, DPU, DDP, FAS, FOB, CFR, CIF.",
            },
        ),
        ({"delivery": None}, {"delivery": "This must be an object."}),
        (
            {"parties__receiver__address": {"address_lines": []}},
            {
                "parties.receiver.address.address_lines": "This must have at least 1 entries.",
                "parties.receiver.address.city": "This field is required.",
                "parties.receiver.address.country": "This field is required.",
            },
        ),
        (
            {"parties__receiver__address__country": "UK"},
            {"parties.receiver.address.country": "This is no country code of ISO 3166-1 alpha-2."},
        ),
        (
            {"parties__receiver__contact": {"name_lines": ["a"] * 5, "phone": "20123456"}},
            {
                "parties.receiver.contact.name_lines": "This must have at most 4 entries.",
                "parties.receiver.contact.phone": "This is no phone number in E.164 form, "
                "such as +4512345678.",
            },
        ),
        (
            {"parties__pickup": {"address": {}}},
            {
                "parties.pickup.address.address_lines": "This field is required.",
                "parties.pickup.address.city": "This field is required.",
                "parties.pickup.address.country": "This field is required.",
            },
        ),
        ({"parcels": []}, {"parcels": "This must have at least 1 entries."}),
        ({"parcels": [{}] * 100}, {"parcels": "This must have at most 99 entries."}),
        ({"parcels__0__height": -1}, {"parcels.0.height": "This must be greater than 0."}),
        ({"parcels__0__tax_amount": 1.5}, {"parcels.0.tax_amount": "This must be an integer."}),
        ({"parcels__0__tax_amount": "1"}, {"parcels.0.tax_amount": "This must be an integer."}),
        (
            {"parcels__0__items": [{"quantity": 0, "country_of_origin": "XX"}]},
            {
                "parcels.0.items.0.description": "This field is required.",
                "parcels.0.items.0.quantity": "This must be at least 1.",
                "parcels.0.items.0.country_of_origin": "This is no country code of ISO 3166-1 "
                "alpha-2.",
            },
        ),
    ],
)
async def test_a_faulty_shipment_is_refused_with_every_fault(
    client: Client, change: dict[str, object], errors: dict[str, str]
) -> None:
    batch = await client.make_batch()

    answer = await client.add(batch, make_shipment(), make_shipment(**change))

    assert answer.status_code == 422
    assert answer.json() == {
        "message": "The request is not valid.",
        "errors": {f"data.1.{path}": [told] for path, told in errors.items()},
    }
    assert (await client.get(f"/booking-batches/{batch}")).json()["data"]["total_count"] == 0


async def test_faults_of_all_shipments_are_told_in_danish(client: Client) -> None:
    answer = await client.post(
        f"/booking-batches/{await client.make_batch()}/shipments",
        json={"data": [make_shipment(currency=1), {}, make_shipment(currency=None)]},
        headers={"Accept-Language": "da"},
    )

    assert answer.json() == {
        "message": "Forespørgslen er ikke gyldig.",
        "errors": {
            "data.0.currency": ["Dette skal være en tekst."],
            "data.1.currency": ["Feltet skal udfyldes."],
            "data.1.delivery": ["Feltet skal udfyldes."],
            "data.1.parties": ["Feltet skal udfyldes."],
            "data.1.parcels": ["Feltet skal udfyldes."],
            "data.2.currency": ["Dette skal være en tekst."],
        },
    }


async def test_a_call_takes_one_to_a_thousand_shipments(client: Client) -> None:
    batch = await client.make_batch()

    none = await client.add(batch)
    too_many = await client.add(batch, *[{}] * 1001)
    all_of_them = await client.add(
        batch, *(make_shipment(reference=str(number)) for number in range(1000))
    )
    listed = await client.get(f"/booking-batches/{batch}/shipments?per_page=1000")

    assert none.json()["errors"] == {"data": ["This must have at least 1 entries."]}
    assert too_many.json()["errors"] == {"data": ["This must have at most 1000 entries."]}
    assert all_of_them.status_code == 201
    added = all_of_them.json()["data"]
    assert [one["reference"] for one in added] == [str(number) for number in range(1000)]
    assert [one["uuid"] for one in listed.json()["data"]] == [one["uuid"] for one in added]


async def test_the_page_of_shipments_is_described(client: Client) -> None:
    batch = await client.make_batch()
    await client.add(batch, *(make_shipment(reference=str(number)) for number in range(5)))

    body = (await client.get(f"/booking-batches/{batch}/shipments?page=2&per_page=2")).json()
    beyond = (await client.get(f"/booking-batches/{batch}/shipments?page=9&state=open")).json()
    wrong = await client.get(f"/booking-batches/{batch}/shipments?page=0&state=x&per_page=x")

    assert [one["reference"] for one in body["data"]] == ["2", "3"]
    assert body["meta"] == {
        "current_page": 2,
        "per_page": 2,
        "total": 5,
        "last_page": 3,
        "from": 3,
        "to": 4,
    }
    assert (beyond["data"], beyond["meta"]["total"]) == ([], 5)
    assert sorted(wrong.json()["errors"]) == ["page", "per_page", "state"]


ADD_ITEMS = """
INSERT INTO items (id, batch_id, team_id, phase, status, due_at, updated_at)
SELECT md5(n::text)::uuid, %(batch)s, %(team)s, CASE n %% 4 WHEN 0 THEN 'ready' ELSE 'done' END,
       CASE n %% 4 WHEN 0 THEN 'waiting' WHEN 1 THEN 'failed' ELSE 'booked' END, %(now)s, %(now)s
  FROM generate_series(%(first)s::integer, %(last)s::integer) AS n
"""
ADD_ITEM_DATA = """
INSERT INTO item_data (item_id, batch_id, position, payload, created_at)
SELECT md5(n::text)::uuid, %(batch)s, n, jsonb_build_object('reference', n::text), %(now)s
  FROM generate_series(%(first)s::integer, %(last)s::integer) AS n
"""


async def test_a_batch_may_have_100_000_shipments(client: Client, db: Database) -> None:
    many, block = 100_000, 20_000
    batch = await make_batch(db, team=client.team, state=BatchState.RUNNING)
    for first in range(1, many + 1, block):
        async with db.transaction() as connection:
            for statement in (ADD_ITEMS, ADD_ITEM_DATA):
                await connection.execute(
                    statement,
                    {
                        "batch": batch,
                        "team": client.team.id,
                        "first": first,
                        "last": first + block - 1,
                        "now": db.clock(),
                    },
                )
    path = f"/booking-batches/{batch}"

    shown = (await client.get(path)).json()["data"]
    last = (await client.get(f"{path}/shipments?page=1000")).json()
    booked = (await client.get(f"{path}/shipments?page=500&state=booked")).json()
    listed = (await client.get("/shipments?page=1000")).json()

    counts = [shown[name] for name in ("total_count", "completed_count", "failed_count")]
    assert (counts, shown["progress"]) == ([many, many // 2, many // 4], 75)
    for page, numbers in (
        (last, range(1, many + 1)),
        (listed, range(1, many + 1)),
        (booked, [n for n in range(1, many + 1) if n % 4 > 1]),
    ):
        assert [one["reference"] for one in page["data"]] == [str(n) for n in numbers[-100:]]
        assert page["meta"]["total"] == len(numbers)


async def set_result(db: Database, shipment: object, **columns: object) -> None:
    async with db.transaction() as connection:
        for name, value in columns.items():
            await connection.execute(
                f"UPDATE item_data SET {name} = %s WHERE item_id = %s", (value, shipment)
            )


async def test_a_booked_shipment_has_its_tracking(client: Client, db: Database) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.COMPLETED)
    payload = {**SHIPMENT, "parcels": [{"tracking_url": "mine"}, {}]}
    [booked] = await make_items(
        db, team=client.team, batch_id=batch, phase=Phase.DONE, status="booked", payload=payload
    )
    parcels = [{"tracking_code": "0037", "tracking_url": "https://track.example/0037"}]
    await set_result(db, booked, result=orjson.dumps({"parcels": parcels}).decode())

    shown = (await client.get(f"/shipments/{booked}")).json()["data"]

    assert shown["state"] == "booked"
    assert [(one["tracking_code"], one["tracking_url"]) for one in shown["parcels"]] == [
        ("0037", "https://track.example/0037"),
        (None, None),
    ]


async def test_a_failed_shipment_says_why(client: Client, db: Database) -> None:
    at = "2026-03-01T12:00:00Z"
    batch = await make_batch(db, team=client.team, state=BatchState.STOPPED)
    made = {
        status: (
            await make_items(db, team=client.team, batch_id=batch, phase=phase, status=status)
        )[0]
        for status, phase in (
            ("failed", Phase.DONE),
            ("stopped", Phase.DONE),
            ("waiting", Phase.READY),
            ("unknown", Phase.UNKNOWN),
        )
    }
    await set_result(db, made["failed"], error_code="address_refused", error_message="No such way.")
    async with db.transaction() as connection:
        await connection.execute("UPDATE items SET updated_at = %s", (at,))
        await connection.execute("UPDATE item_data SET ended_at = %s", (at,))

    listed = await client.get(
        f"/booking-batches/{batch}/shipments", headers={"Accept-Language": "da"}
    )

    stopped = {
        "code": "stopped",
        "message": "Batchen blev stoppet, før forsendelsen blev booket.",
        "retryable": True,
        "at": at,
    }
    assert [one["state"] for one in listed.json()["data"]] == ["failed"] * 4
    assert [one["errors"] for one in listed.json()["data"]] == [
        [{"code": "address_refused", "message": "No such way.", "retryable": False, "at": at}],
        [stopped],
        [stopped],
        [
            {
                "code": "outcome_unknown",
                "message": "Det vides ikke, om transportøren har booket forsendelsen.",
                "retryable": False,
                "at": at,
            }
        ],
    ]


async def test_the_catalogue_lists_every_service(client: Client) -> None:
    english = (await client.get("/routing/services")).json()["data"]
    danish = (await client.get("/routing/services", headers={"Accept-Language": "da"})).json()

    assert {(one["carrier_code"], one["service_code"]) for one in english} == {
        (carrier, service)
        for carrier, pickup in (
            ("postnord", "servicepoint"),
            ("gls", "parcelshop"),
            ("dao", "parcelshop"),
            ("bring", "pickup"),
            ("dhl", "servicepoint"),
        )
        for service in ("home", pickup, "return")
    }
    assert english[1] == {
        "service_code": "servicepoint",
        "service_name": "Service point",
        "carrier_code": "postnord",
        "carrier_name": "PostNord",
        "carrier_logo_url": None,
        "carrier_icon_url": None,
        "is_pickup": True,
        "is_return": False,
    }
    assert danish["data"][1] == english[1] | {"service_name": "Udleveringssted"}


def test_code_lists_are_those_of_iso() -> None:
    assert len(countries()) == 249
    assert {"DK", "GL", "FO", "AX", "GB"} <= countries()
    assert not {"UK", "EU", "XK", "ZZ"} & countries()
    assert {"DKK", "EUR", "ISK", "USD"} <= currencies()
    assert not {"DEM", "XXX", "XAU", "HRK"} & currencies()
