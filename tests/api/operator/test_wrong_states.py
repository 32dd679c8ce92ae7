"""Every control call in every state: it does what the lifecycle allows, or changes nothing."""

from collections.abc import Collection, Mapping

import pytest

from batchyard.lifecycle import BatchEvent, states_allowing
from batchyard.models import BatchState, Phase
from tests import factories
from tests.api.operator.conftest import Client
from tests.api.operator.test_keys import everything

RIGHT: Mapping[str, Collection[BatchState]] = {
    "dispatch": states_allowing(BatchEvent.DISPATCHED),
    "pause": states_allowing(BatchEvent.PAUSED),
    "resume": states_allowing(BatchEvent.RESUMED),
    "stop": states_allowing(BatchEvent.STOPPED),
    "cancel": states_allowing(BatchEvent.CANCELLED),
    "retry": (BatchState.RUNNING, BatchState.PAUSED, *states_allowing(BatchEvent.REOPENED)),
}
"""What may be done to a batch in which states."""

GONE = {BatchState.IMPORTING, BatchState.CANCELLED}
"""There is no batch yet, or none any more."""


@pytest.mark.parametrize("is_single", [False, True])
@pytest.mark.parametrize("state", BatchState)
@pytest.mark.parametrize("call", RIGHT)
async def test_control_call_is_refused_in_every_wrong_state(
    client: Client, call: str, state: BatchState, *, is_single: bool
) -> None:
    batch_id = await factories.make_batch(
        client.db, team=client.team, state=state, is_single=is_single
    )
    await factories.make_items(client.db, team=client.team, batch_id=batch_id)
    await factories.make_items(
        client.db, team=client.team, batch_id=batch_id, phase=Phase.DONE, status="failed"
    )
    before = await everything(client.db)
    answer = await client.post(f"/batches/{batch_id}/{call}", {} if call == "retry" else None)
    after = await everything(client.db)
    if state in RIGHT[call]:
        assert answer.status_code == (204 if call == "cancel" else 200), answer.text
        assert after != before
    else:
        assert answer.status_code == (404 if state in GONE else 409), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert after == before


@pytest.mark.parametrize("is_single", [False, True])
@pytest.mark.parametrize("state", BatchState)
async def test_batch_is_deleted_in_every_state_once_it_is_there(
    client: Client, state: BatchState, *, is_single: bool
) -> None:
    batch_id = await factories.make_batch(
        client.db, team=client.team, state=state, is_single=is_single
    )
    await factories.make_items(client.db, team=client.team, batch_id=batch_id)
    before = await everything(client.db)
    answer = await client.delete(f"/batches/{batch_id}")
    if state is BatchState.IMPORTING:
        assert answer.status_code == 404, answer.text
        assert await everything(client.db) == before
    else:
        assert answer.status_code == 204, answer.text
        assert (await client.get(f"/batches/{batch_id}")).status_code == 404
        assert (await client.delete(f"/batches/{batch_id}")).status_code == 404
        newest = (await client.get("/audit", limit=1)).json()["data"][0]
        told = (newest["action"], newest["before"], newest["after"])
        assert told == ("batch.delete", {"state": state}, {"state": "deleted"})
