"""Contract, section 4: shipments outside batches: made, listed, booked, cancelled."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from batchyard.api.smartsend import shipment_routes
from batchyard.models import BatchState, Phase, Policy
from batchyard.providers import sandbox
from batchyard.providers.base import Promise
from batchyard.store.db import Database
from tests.api.smartsend.conftest import Client, make_shipment, until, working
from tests.factories import make_batch, make_items

LOST_ANSWER = "9801"
REFUSED = "9901"
NO_PROMISE = Promise(policy=Policy.NEITHER, timeout=timedelta(seconds=2))
"""As of a provider that can neither be asked nor be sent the same again."""


async def make_single(client: Client, **changes: object) -> dict[str, Any]:
    answer = await client.post("/shipments", json=make_shipment(**changes))
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()["data"]
    return made


async def test_a_single_shipment_is_open_and_in_no_list_of_batches(client: Client) -> None:
    made = await make_single(client)

    read = await client.get(f"/shipments/{made['uuid']}")

    assert made["state"] == "open"
    assert read.json()["data"] == {**made, "errors": []}
    assert (await client.get("/booking-batches")).json()["meta"]["total"] == 0


async def test_a_wrong_single_shipment_is_told_every_fault_without_an_index(
    client: Client,
) -> None:
    wrong = make_shipment(currency="XXX", delivery__service="drone")

    answer = await client.post("/shipments", json=wrong)

    assert answer.status_code == 422
    assert set(answer.json()["errors"]) == {"currency", "delivery.service"}


@pytest.mark.parametrize("body", ["[]", "null", "1", '"text"', ""])
async def test_a_body_that_is_no_object_is_422(client: Client, body: str) -> None:
    answer = await client.post(
        "/shipments", content=body, headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == 422
    assert set(answer.json()["errors"]) == {"body"}


async def test_a_booking_answers_the_booked_shipment(client: Client, db: Database) -> None:
    made = await make_single(client)

    async with working(db):
        answer = await client.post(f"/shipments/{made['uuid']}/booking")

    booked = answer.json()["data"]
    assert (answer.status_code, booked["state"]) == (200, "booked")
    assert booked["parcels"][0]["tracking_code"].startswith("00370")
    read = await client.get(f"/shipments/{made['uuid']}")
    assert read.json()["data"] == {**booked, "errors": []}


async def test_a_failed_booking_says_so_and_the_shipment_why(client: Client, db: Database) -> None:
    made = await make_single(client, parties__receiver__address__postal_code=REFUSED)

    async with working(db):
        answer = await client.post(f"/shipments/{made['uuid']}/booking")

    failed = answer.json()["data"]
    assert (answer.status_code, failed["state"]) == (200, "failed")
    for language, told in (
        ("en", "The carrier does not deliver to this postal code."),
        ("da", "Transportøren leverer ikke til dette postnummer."),
    ):
        headers = {"Accept-Language": language}
        read = await client.get(f"/shipments/{made['uuid']}", headers=headers)
        [error] = read.json()["data"]["errors"]
        assert (error["code"], error["message"]) == ("address_refused", told)


async def test_errors_are_only_in_lists_of_a_batch_and_single_reads(
    client: Client, db: Database
) -> None:
    batch = await client.make_batch()
    added = (await client.add(batch, make_shipment())).json()["data"]
    made = await make_single(client)
    async with working(db):
        booked = (await client.post(f"/shipments/{made['uuid']}/booking")).json()["data"]
    listed = (await client.get("/shipments")).json()["data"]
    of_batch = (await client.get(f"/booking-batches/{batch}/shipments")).json()["data"]
    read = (await client.get(f"/shipments/{made['uuid']}")).json()["data"]

    for shipment in (*added, made, booked, *listed):
        assert "errors" not in shipment
    for shipment in (*of_batch, read):
        assert list(shipment)[-1] == "errors"


async def test_a_preferred_operation_comes_at_once_and_ends(client: Client, db: Database) -> None:
    made = await make_single(client)

    answer = await client.post(
        f"/shipments/{made['uuid']}/booking", headers={"Prefer": "respond-async"}
    )

    operation = answer.json()["data"]
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "respond-async"
    path = f"/api/v2/team/north/operations/{operation['uuid']}"
    assert answer.headers["Location"] == f"http://door{path}"
    assert operation == {
        "uuid": operation["uuid"],
        "state": "pending",
        "resource_url": f"http://door/api/v2/team/north/shipments/{made['uuid']}",
        "created_at": operation["created_at"],
        "finished_at": None,
        "errors": [],
    }

    async def has_ended() -> bool:
        return bool((await client.http.get(path)).json()["data"]["finished_at"])

    async with working(db):
        await until(has_ended)
    assert (await client.http.get(path)).json()["data"]["state"] == "succeeded"


async def test_an_operation_of_a_failed_booking_tells_why(client: Client, db: Database) -> None:
    made = await make_single(client, parties__receiver__address__postal_code=REFUSED)
    answer = await client.post(
        f"/shipments/{made['uuid']}/booking", headers={"Prefer": "respond-async"}
    )
    path = f"/operations/{answer.json()['data']['uuid']}"

    async def has_failed() -> bool:
        return bool((await client.get(path)).json()["data"]["state"] == "failed")

    async with working(db):
        await until(has_failed)
    [error] = (await client.get(path)).json()["data"]["errors"]
    assert error["code"] == "address_refused"


async def test_a_booking_that_takes_long_is_an_operation(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipment_routes, "PATIENCE_SECONDS", 0.1)
    made = await make_single(client)

    answer = await client.post(f"/shipments/{made['uuid']}/booking")

    assert answer.status_code == 202
    assert answer.json()["data"]["state"] == "pending"
    assert "Preference-Applied" not in answer.headers


async def test_a_booking_with_an_unknown_outcome_is_an_operation(
    client: Client, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "PROMISE", NO_PROMISE)
    made = await make_single(client, parties__receiver__address__postal_code=LOST_ANSWER)

    async with working(db):
        answer = await client.post(f"/shipments/{made['uuid']}/booking")

    assert (answer.status_code, answer.json()["data"]["state"]) == (202, "running")
    assert answer.headers["Location"].endswith(f"/operations/{answer.json()['data']['uuid']}")
    read = (await client.get(f"/shipments/{made['uuid']}")).json()["data"]
    assert (read["state"], read["errors"]) == ("processing", [])


async def test_a_shipment_is_booked_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipment_routes, "PATIENCE_SECONDS", 0.1)
    made = await make_single(client)
    await client.post(f"/shipments/{made['uuid']}/booking")

    again = await client.post(f"/shipments/{made['uuid']}/booking")

    assert again.status_code == 422
    assert again.json()["errors"] == {"state": ["The shipment is not open."]}


async def test_a_shipment_of_a_batch_is_not_booked_singly(client: Client) -> None:
    added = await client.add(await client.make_batch(), make_shipment())

    answer = await client.post(f"/shipments/{added.json()['data'][0]['uuid']}/booking")

    assert answer.status_code == 422
    assert answer.json()["message"] == "The shipment belongs to a batch and is booked with it."


async def test_a_cancelled_shipment_can_be_read_and_not_booked(client: Client) -> None:
    made = await make_single(client)

    cancelled = await client.delete(f"/shipments/{made['uuid']}")

    assert cancelled.json() == {"message": "The shipment was cancelled."}
    assert (await client.get(f"/shipments/{made['uuid']}")).json()["data"]["state"] == "cancelled"
    assert (await client.delete(f"/shipments/{made['uuid']}")).status_code == 422
    assert (await client.post(f"/shipments/{made['uuid']}/booking")).status_code == 422


async def test_a_shipment_cancelled_out_of_a_batch_leaves_its_total(client: Client) -> None:
    batch = await client.make_batch()
    added = await client.add(batch, make_shipment(), make_shipment())

    await client.delete(f"/shipments/{added.json()['data'][0]['uuid']}")

    assert (await client.get(f"/booking-batches/{batch}")).json()["data"]["total_count"] == 1
    await client.delete(f"/shipments/{added.json()['data'][1]['uuid']}")
    assert (await client.post(f"/booking-batches/{batch}/dispatch")).status_code == 422


@pytest.mark.parametrize(
    "phase, status",
    [
        (Phase.CLAIMED, "waiting"),
        (Phase.CALLING, "sending"),
        (Phase.LIVE, "processing"),
        (Phase.UNKNOWN, "unknown"),
        (Phase.DONE, "booked"),
        (Phase.DONE, "failed"),
    ],
)
async def test_what_is_booking_or_has_ended_is_not_cancelled(
    client: Client, db: Database, phase: Phase, status: str
) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.RUNNING)
    [shipment] = await make_items(
        db, team=client.team, batch_id=batch, phase=phase, status=status, payload=make_shipment()
    )

    answer = await client.delete(f"/shipments/{shipment}")

    assert answer.status_code == 422
    assert answer.json()["errors"] == {"state": ["The shipment is being booked, or has ended."]}


async def test_what_a_stopped_batch_left_is_not_cancelled(client: Client, db: Database) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.STOPPED)
    [shipment] = await make_items(db, team=client.team, batch_id=batch, payload=make_shipment())

    assert (await client.delete(f"/shipments/{shipment}")).status_code == 422


async def test_an_operation_whose_shipment_is_cancelled_says_so(client: Client) -> None:
    made = await make_single(client)
    begun = await client.post(
        f"/shipments/{made['uuid']}/booking", headers={"Prefer": "respond-async"}
    )

    cancelled = await client.delete(f"/shipments/{made['uuid']}")

    assert cancelled.status_code == 200
    operation = await client.get(f"/operations/{begun.json()['data']['uuid']}")
    assert operation.json()["data"]["state"] == "failed"
    [error] = operation.json()["data"]["errors"]
    assert error["code"] == "cancelled"


async def test_a_queued_batch_whose_shipments_are_all_cancelled_ends(
    client: Client, db: Database
) -> None:
    batch = await client.make_batch()
    added = await client.add(batch, make_shipment())
    await client.post(f"/booking-batches/{batch}/dispatch")

    answer = await client.delete(f"/shipments/{added.json()['data'][0]['uuid']}")

    assert answer.status_code == 200

    async def has_ended() -> bool:
        read = await client.get(f"/booking-batches/{batch}")
        return bool(read.json()["data"]["finished_at"])

    async with working(db):
        await until(has_ended)


async def test_the_list_has_the_shipments_of_all_batches_and_single_ones(client: Client) -> None:
    batch = await client.make_batch()
    added = (await client.add(batch, make_shipment(), make_shipment())).json()["data"]
    single = await make_single(client)

    listed = (await client.get("/shipments")).json()

    assert [one["uuid"] for one in listed["data"]] == [
        single["uuid"],
        *(one["uuid"] for one in added),
    ]
    assert listed["meta"]["total"] == 3


async def test_the_list_has_every_page(client: Client, db: Database) -> None:
    expected: list[str] = []
    for size in (3, 0, 1, 5):
        batch = await make_batch(db, team=client.team, is_single=size == 1)
        made = await make_items(
            db, team=client.team, batch_id=batch, n=size, payload=make_shipment()
        )
        expected = [*(str(one) for one in made), *expected]

    seen = [
        one["uuid"]
        for page in range(1, 7)
        for one in (await client.get(f"/shipments?per_page=2&page={page}")).json()["data"]
    ]

    assert seen == expected


async def test_the_list_is_narrowed_by_state_and_batch(client: Client, db: Database) -> None:
    first, second = [
        await make_batch(db, team=client.team, state=BatchState.RUNNING) for _ in range(2)
    ]
    for batch in (first, second):
        for phase, status in ((Phase.DONE, "booked"), (Phase.DONE, "failed")):
            await make_items(
                db,
                team=client.team,
                batch_id=batch,
                phase=phase,
                status=status,
                payload=make_shipment(),
            )

    async def total(query: str) -> tuple[int, int]:
        listed = (await client.get(f"/shipments?{query}")).json()
        return listed["meta"]["total"], len(listed["data"])

    assert await total("state=booked") == (2, 2)
    assert await total(f"batch={first}") == (2, 2)
    assert await total(f"state=failed&batch={second}") == (1, 1)
    assert await total(f"batch={uuid4()}") == (0, 0)
    assert (await client.get("/shipments?batch=x")).json()["errors"] == {
        "batch": ["This is no UUID."]
    }


async def test_lost_outcomes_are_listed_as_failed(client: Client, db: Database) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.RUNNING)
    for updated_at in (None, db.clock().replace(year=2020)):
        await make_items(
            db,
            team=client.team,
            batch_id=batch,
            phase=Phase.UNKNOWN,
            status="unknown",
            payload=make_shipment(),
            updated_at=updated_at,
        )

    for state in ("failed", "processing"):
        listed = (await client.get(f"/shipments?state={state}")).json()
        assert (listed["meta"]["total"], len(listed["data"])) == (1, 1)


async def test_nothing_of_another_team_is_listed_or_reached(
    client: Client, stranger: Client
) -> None:
    made = await make_single(client)
    operation = await client.post(
        f"/shipments/{made['uuid']}/booking", headers={"Prefer": "respond-async"}
    )

    answers: list[httpx.Response] = [
        await stranger.get(f"/shipments/{made['uuid']}"),
        await stranger.delete(f"/shipments/{made['uuid']}"),
        await stranger.post(f"/shipments/{made['uuid']}/booking"),
        await stranger.get(f"/shipments/{made['uuid']}/documents"),
        await stranger.get(f"/operations/{operation.json()['data']['uuid']}"),
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert (await stranger.get("/shipments")).json()["meta"]["total"] == 0
