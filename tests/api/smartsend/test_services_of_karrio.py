"""What the connections of a Karrio server book, asked for through the door."""

from collections.abc import Iterator

import pytest

from batchyard.api.smartsend import catalogue
from batchyard.encryption import Vault
from batchyard.models import Kind
from batchyard.operations import providers
from batchyard.store.db import Database
from tests.api.smartsend.conftest import Client, make_shipment
from tests.cli.stored import KEY
from tests.providers.fakes.karrio_state import TEST_KEY
from tests.providers.karrio_judge import KarrioJudge, faking


@pytest.fixture(scope="module")
def karrio() -> Iterator[KarrioJudge]:
    with faking() as judge:
        yield judge


async def test_services_of_its_connections_are_offered_and_no_other_is_booked(
    client: Client,
    stranger: Client,
    db: Database,
    karrio: KarrioJudge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalogue, "BELIEVED_SECONDS", 0.0)
    usual = (await stranger.get("/routing/services")).json()["data"]
    await providers.add_provider(
        db,
        Vault(KEY),
        name="karrio",
        kind="karrio",
        settings={"url": karrio.url},
        secret=TEST_KEY,
        allow_private=True,
    )
    await providers.set_route(
        db, team=client.team, kind=Kind.SHIPMENT, agent_id=None, provider="karrio"
    )

    listed = (await client.get("/routing/services")).json()["data"]

    assert [
        (one["carrier_code"], one["service_code"], one["carrier_name"], one["service_name"])
        for one in listed
    ] == [
        ("post-nord", "standard_service", "Post N", "Standard service"),
        # Two connections of one name are told apart by their ids.
        ("car_2", "ups_standard", "UPS", "Ups standard"),
        ("car_2", "ups_express_saver", "UPS", "Ups express saver"),
        ("car_3", "ups_standard", "UPS, other", "Ups standard"),
        ("car_3", "ups_express_saver", "UPS, other", "Ups express saver"),
        # Restricted to some services; and the one that only tracks is not here.
        ("ups-few", "ups_standard", "UPS, few", "Ups standard"),
    ]
    assert (await stranger.get("/routing/services")).json()["data"] == usual
    batch = await client.make_batch()
    sent = [
        make_shipment(delivery={"carrier": carrier, "service": service})
        for carrier, service in (("ups-few", "ups_standard"), ("ups-few", "ups_express_saver"))
    ]
    answer = await client.post(
        f"/booking-batches/{batch}/shipments",
        json={"data": sent},
        headers={"Prefer": "handling=lenient"},
    )
    assert answer.json()["errors"] == {
        "data.1.delivery.service": ["The carrier has no such service."]
    }
    assert karrio.books()["violations"] == []
