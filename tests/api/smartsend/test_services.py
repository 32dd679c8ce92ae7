"""Services: the catalogue, and what of it a team's provider books."""

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from batchyard.api.smartsend import catalogue
from batchyard.encryption import Vault
from batchyard.models import Kind
from batchyard.operations import providers
from batchyard.store.db import Database
from tests import plug_ins
from tests.api.smartsend.conftest import Client, make_shipment


async def lead_to_http(db: Database, client: Client, **settings: object) -> None:
    """Route the team's shipments to a provider over HTTP."""
    await providers.add_provider(
        db,
        Vault(None),
        name="carriers",
        kind="http",
        settings={"url": "http://127.0.0.1:9/book", **settings},
        secret=None,
        allow_private=True,
    )
    await providers.set_route(
        db, team=client.team, kind=Kind.SHIPMENT, agent_id=None, provider="carriers"
    )


async def services(client: Client, language: str = "en") -> list[dict[str, Any]]:
    answer = await client.get("/routing/services", headers={"Accept-Language": language})
    listed: list[dict[str, Any]] = answer.json()["data"]
    return listed


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package with kinds that break; what they say is asked for each time."""
    monkeypatch.setattr(catalogue, "BELIEVED_SECONDS", -1)
    plug_ins.install(tmp_path, monkeypatch)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    "kind,error", [("torn", "KeyError"), ("vain", "ValidationError"), ("halting", "OSError")]
)
async def test_a_package_that_breaks_loses_its_own_services_only(
    client: Client, stranger: Client, db: Database, kind: str, error: str
) -> None:
    everything = await services(client)
    await providers.add_provider(
        db, Vault(None), name=kind, kind=kind, settings={}, secret=None, allow_private=False
    )
    await providers.set_route(
        db, team=client.team, kind=Kind.SHIPMENT, agent_id=None, provider=kind
    )

    with capture_logs() as logs:
        for _ in range(3):
            answer = await client.get("/routing/services")
            assert (answer.status_code, answer.json()["data"]) == (200, [])
        added = await client.add(await client.make_batch(), make_shipment())

    assert added.status_code == 422
    assert await services(stranger) == everything
    [told] = [one for one in logs if one["event"] == "services.unreadable"]
    assert (told["provider"], told["error"]) == (kind, error)


async def test_every_carrier_has_its_usual_services(client: Client) -> None:
    listed = await services(client)

    for carrier in ("postnord", "gls", "dao", "bring", "dhl"):
        mine = [one for one in listed if one["carrier_code"] == carrier]
        kinds = {(one["is_pickup"], one["is_return"]) for one in mine}
        assert kinds == {(False, False), (True, False), (False, True)}


async def test_a_provider_that_declares_nothing_books_all(client: Client, db: Database) -> None:
    everything = await services(client)

    await lead_to_http(db, client)

    assert await services(client) == everything


async def test_a_team_sees_what_its_provider_declares(
    client: Client, stranger: Client, db: Database
) -> None:
    everything = await services(stranger)
    await lead_to_http(
        db,
        client,
        services=[
            "gls/parcelshop",
            {
                "carrier": "bike",
                "carrier_name": "Bike Ltd",
                "service": "same-day",
                "service_name": "Same day",
                "is_pickup": True,
            },
            "postnord/pallet",
        ],
    )

    listed = await services(client, "da")

    assert [(one["carrier_name"], one["service_name"], one["is_pickup"]) for one in listed] == [
        ("GLS", "Pakkeshop", True),
        ("Bike Ltd", "Same day", True),
        ("PostNord", "pallet", False),
    ]
    assert await services(stranger) == everything


async def test_only_what_is_declared_can_be_sent_by(client: Client, db: Database) -> None:
    await lead_to_http(db, client, services=["gls/home", "bike/same-day"])
    batch = await client.make_batch()
    sent = [
        make_shipment(delivery={"carrier": carrier, "service": service})
        for carrier, service in (
            ("gls", "home"),
            ("bike", "same-day"),
            ("gls", "parcelshop"),
            ("postnord", "home"),
        )
    ]

    answer = await client.post(
        f"/booking-batches/{batch}/shipments",
        json={"data": sent},
        headers={"Prefer": "handling=lenient"},
    )

    assert [one["delivery"]["carrier_name"] for one in answer.json()["data"]] == ["GLS", "bike"]
    assert answer.json()["errors"] == {
        "data.2.delivery.service": ["The carrier has no such service."],
        "data.3.delivery.carrier": ["There is no such carrier."],
    }


async def test_a_shipment_keeps_its_names_when_the_provider_changes(
    client: Client, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "BELIEVED_SECONDS", 0.0)
    made = await client.post("/shipments", json=make_shipment())

    await lead_to_http(db, client, services=["gls/home"])

    read = await client.get(f"/shipments/{made.json()['data']['uuid']}")
    assert read.json()["data"]["delivery"]["service_name"] == "Home delivery"


async def test_a_provider_that_cannot_be_used_offers_nothing(client: Client, db: Database) -> None:
    await lead_to_http(db, client)
    async with db.transaction() as connection:
        await connection.execute(
            "UPDATE providers SET settings = '{\"url\": 1}' WHERE name = 'carriers'"
        )

    assert await services(client) == []
    answer = await client.post("/shipments", json=make_shipment())
    assert set(answer.json()["errors"]) == {"delivery.carrier"}
