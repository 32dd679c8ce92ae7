"""What the operator API takes, keeps and shows of a batch's retries."""

from typing import Any

import pytest

from batchyard.models import Kind
from tests import factories
from tests.api.operator.conftest import Client

RETRIES = {"statuses": ["busy"], "max_retries": 2, "intervals_minutes": [5], "jitter": 0.25}


async def test_jitter_is_given_with_a_new_batch_and_shown(client: Client) -> None:
    agent_id = await factories.make_agent(client.db, team=client.team)
    rows = [{"contact_number": "+4520123456"}]
    body = {"kind": "call", "agent_id": str(agent_id), "rows": rows, "retries": RETRIES}
    made = await client.post("/batches", body)
    assert made.status_code == 201, made.text
    shown = (await client.get(f"/batches/{made.json()['batch_id']}")).json()
    assert shown["retry_policy"] == {**RETRIES, "on_voicemail": False}


async def test_jitter_is_changed_while_the_batch_waits(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team, kind=Kind.CALL)
    path = f"/batches/{batch_id}"
    shown = (await client.patch(path, {"retries": RETRIES})).json()
    assert shown["retry_policy"]["jitter"] == 0.25
    exact = {name: value for name, value in RETRIES.items() if name != "jitter"}
    shown = (await client.patch(path, {"retries": exact})).json()
    assert shown["retry_policy"]["jitter"] == 0
    assert (await client.get("/audit")).json()["data"][0]["before"]["retries"]["jitter"] == 0.25


@pytest.mark.parametrize("jitter", [-0.1, 1.1, "much"])
async def test_jitter_that_is_no_part_of_an_interval_is_refused(
    client: Client, jitter: object
) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team, kind=Kind.CALL)
    answer = await client.patch(f"/batches/{batch_id}", {"retries": {**RETRIES, "jitter": jitter}})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body.retries.jitter"


async def test_document_describes_the_jitter(client: Client) -> None:
    document = (await client.http.get("/api/v1/openapi.json")).json()
    shape = document["components"]["schemas"]["Retries"]["properties"]["jitter"]
    assert (shape["minimum"], shape["maximum"], shape["default"]) == (0, 1, 0)
    created: Any = document["paths"]["/api/v1/batches"]["post"]["requestBody"]["content"]
    assert "'jitter'" in str(created["application/json"]["schema"]["properties"]["retries"])
