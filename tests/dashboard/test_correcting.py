"""Two people correct the same item: nobody takes back unseen what the other one has corrected."""

from collections.abc import Mapping
from uuid import UUID

import httpx
import pytest

from batchyard.dashboard.visitors import PREFIX
from batchyard.models import BatchState, Kind, Phase
from batchyard.operations import corrections
from batchyard.store.corrections import Correction
from batchyard.store.db import Database
from tests import factories
from tests.dashboard.conftest import Yard
from tests.dashboard.forms import form_of
from tests.operations.lists import SHIPMENT_HEADER, SHIPMENTS, shipment_row, upload

pytestmark = pytest.mark.asyncio(loop_scope="session")

OLD, NEW = "+4520123456", "+4520123477"
MEANWHILE = "Somebody corrected it meanwhile."


async def failed_call(yard: Yard, **payload: str) -> UUID:
    batch_id = await factories.make_batch(
        yard.db, team=yard.team, kind=Kind.CALL, state=BatchState.COMPLETED
    )
    [item_id] = await factories.make_items(
        yard.db,
        team=yard.team,
        batch_id=batch_id,
        phase=Phase.DONE,
        status="failed",
        number=OLD,
        payload=payload,
    )
    return item_id


def path_of(item_id: UUID) -> str:
    return f"{PREFIX}/items/{item_id}/correct"


async def read_form(client: httpx.AsyncClient, item_id: UUID) -> Mapping[str, list[str]]:
    path = path_of(item_id)
    return form_of((await client.get(path)).text, path)


async def held(yard: Yard, item_id: UUID) -> object:
    query = (
        "SELECT jsonb_build_array(number, payload, jsonb_array_length(corrections))"
        " FROM item_data WHERE item_id = %s"
    )
    return await yard.value(query, [item_id])


async def correct_beside(yard: Yard, item_id: UUID, **payload: str) -> None:
    """Correct an item as a program does, whatever it has."""
    checked = await corrections.check_correction(
        yard.db, team=yard.team, item_id=item_id, payload=payload
    )
    await corrections.correct_item(yard.db, checked, team=yard.team)


async def test_second_correction_of_a_call_keeps_what_the_first_one_changed(yard: Yard) -> None:
    item_id = await failed_call(yard, name="Ann", note="one\ntwo", town="Ribe")
    path = path_of(item_id)
    async with yard.client() as client:
        first, second = [dict(await read_form(client, item_id)) for _ in range(2)]
        changed = {"number": [NEW], "cell.note": ["three\r\nfour"]}
        assert (await client.post(path, data=first | changed)).status_code == 303
        answer = await client.post(path, data=second | {"cell.name": ["Zoë"]})
        assert answer.status_code == 303, answer.text
    kept = {"name": "Zoë", "note": "three\nfour", "town": "Ribe"}
    assert await held(yard, item_id) == [NEW, kept, 2]


async def test_form_with_a_fault_still_knows_what_it_showed(yard: Yard) -> None:
    item_id = await failed_call(yard, name="Ann", town="Ribe")
    path = path_of(item_id)
    async with yard.client() as client:
        first, second = [dict(await read_form(client, item_id)) for _ in range(2)]
        changed = {"number": [NEW], "cell.town": ["Aarhus"], "cell.name": ["Anna"]}
        assert (await client.post(path, data=first | changed)).status_code == 303
        wrong = {"number": ["+45 2"], "cell.name": ["Zoë"]}
        refused = await client.post(path, data=second | wrong)
        assert refused.status_code == 422
        again = form_of(refused.text, path)
        shown = [again[name] for name in ("number", "cell.name", "cell.town")]
        assert shown == [["+45 2"], ["Zoë"], ["Aarhus"]]
        # What it showed at first is no change, though it is another one's by now.
        answer = await client.post(path, data=again | {"number": [OLD], "cell.name": ["Ann"]})
        assert answer.status_code == 303, answer.text
    assert await held(yard, item_id) == [NEW, {"name": "Anna", "town": "Aarhus"}, 2]


@pytest.mark.parametrize("now", [{"name": "Bo"}, {"name": "Bo", "town": "Ribe", "zip": "1"}])
async def test_call_with_other_values_than_were_shown_is_left(
    yard: Yard, now: Mapping[str, str]
) -> None:
    item_id = await failed_call(yard, name="Ann", town="Ribe")
    async with yard.client() as client:
        form = dict(await read_form(client, item_id))
        await correct_beside(yard, item_id, **now)
        answer = await client.post(path_of(item_id), data=form | {"cell.town": ["Aarhus"]})
    assert (answer.status_code, MEANWHILE in answer.text) == (409, True)
    assert await held(yard, item_id) == [OLD, now, 1]


async def test_correction_is_left_where_another_one_is_saved_while_it_is_judged(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    item_id = await failed_call(yard, name="Ann", town="Ribe")
    check = corrections.check_correction

    async def check_for_long(db: Database, **given: object) -> Correction:
        monkeypatch.undo()
        checked = await check(db, **given)  # type: ignore[arg-type]  # as the page gives it
        await correct_beside(yard, item_id, name="Ann", town="Aarhus")
        return checked

    async with yard.client() as client:
        form = dict(await read_form(client, item_id))
        monkeypatch.setattr(corrections, "check_correction", check_for_long)
        answer = await client.post(path_of(item_id), data=form | {"cell.name": ["Zoë"]})
    assert (answer.status_code, MEANWHILE in answer.text) == (409, True)
    assert await held(yard, item_id) == [OLD, {"name": "Ann", "town": "Aarhus"}, 1]


async def test_second_correction_of_a_shipment_is_refused(yard: Yard) -> None:
    content = f"{SHIPMENT_HEADER}\n{shipment_row()}\n".encode()
    batch_id = (await upload(yard.db, content, team=yard.team, options=SHIPMENTS)).batch_id
    item_id = await yard.value("SELECT item_id FROM item_data WHERE batch_id = %s", [batch_id])
    assert isinstance(item_id, UUID)
    path = path_of(item_id)

    def with_name(form: Mapping[str, list[str]], name: str) -> Mapping[str, list[str]]:
        [text] = form["json"]
        assert "Bo Ek" in text
        return {**form, "json": [text.replace("Bo Ek", name)]}

    async with yard.client() as client:
        first, second = [await read_form(client, item_id) for _ in range(2)]
        assert (await client.post(path, data=with_name(first, "Bo Eg"))).status_code == 303
        after_first = await held(yard, item_id)
        # The form that comes back with a fault showed the same.
        faulty = await client.post(path, data={**second, "json": ["{"]})
        assert faulty.status_code == 422
        again = {**form_of(faulty.text, path), "json": second["json"]}
        for form in (second, again):
            answer = await client.post(path, data=with_name(form, "Bo Ege"))
            assert (answer.status_code, MEANWHILE in answer.text) == (409, True)
        assert await held(yard, item_id) == after_first
        # Opened again it has what the first one left, and is corrected.
        [text] = (await read_form(client, item_id))["json"]
        assert "Bo Eg" in text
        form = {**await read_form(client, item_id), "json": [text.replace("Bo Eg", "Bo Ege")]}
        assert (await client.post(path, data=form)).status_code == 303
