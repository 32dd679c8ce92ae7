"""The page of an item: every attempt with what the provider answered to it."""

import re
from collections.abc import Mapping
from uuid import UUID

import orjson
import pytest

from batchyard.dashboard.visitors import PREFIX
from batchyard.models import BatchState, JsonObject, Kind, Phase
from tests import factories
from tests.dashboard.conftest import Yard
from tests.dashboard.forms import form_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

ANSWER = "The provider&#39;s answer"
LAST_ANSWER = "The answer to the last attempt that was given one"


def attempt(number: int, **more: object) -> dict[str, object]:
    return {
        "attempt": number,
        "key": f"k.{number}",
        "status": "failed",
        "sent_at": "2026-03-04T10:00:00+00:00",
        "ended_at": "2026-03-04T10:00:09+00:00",
        **more,
    }


async def read_card(
    yard: Yard, *, attempts: list[dict[str, object]], result: Mapping[str, object]
) -> str:
    """Return the attempts of an item as its page has them, in words."""
    batch_id = await factories.make_batch(yard.db, team=yard.team, state=BatchState.COMPLETED)
    [item_id] = await factories.make_items(
        yard.db, team=yard.team, batch_id=batch_id, phase=Phase.DONE, status="failed"
    )
    await yard.execute(
        "UPDATE item_data SET attempts = %s::jsonb, result = %s::jsonb WHERE item_id = %s",
        [orjson.dumps(attempts).decode(), orjson.dumps(result).decode(), item_id],
    )
    async with yard.client() as client:
        page = (await client.get(f"{PREFIX}/items/{item_id}")).text
    [card] = re.findall(r"<h2>Attempts</h2>(.*?)</section>", page, re.DOTALL)
    shown = re.sub(r"<details>.*?</details>", " ", card, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", shown).split())


async def test_each_attempt_shows_the_answer_that_is_kept_of_it(yard: Yard) -> None:
    first = attempt(1, result={"currency": "SEK", "price_minor": 4500})
    told = await read_card(
        yard, attempts=[first, attempt(2)], result={"currency": "SEK", "price_minor": 900}
    )
    second, _, rest = told.partition("Attempt 1")
    assert "Attempt 2" in second
    assert ANSWER not in second
    kept, _, last = rest.partition(LAST_ANSWER)
    assert f"{ANSWER} currency SEK price SEK 45.00" in kept
    assert "price SEK 9.00" in last


async def test_only_attempt_has_the_only_answer(yard: Yard) -> None:
    told = await read_card(yard, attempts=[attempt(1)], result={"note": "Nobody home."})
    assert f"{ANSWER} note Nobody home." in told
    assert LAST_ANSWER not in told


async def failed_call(yard: Yard, payload: JsonObject) -> UUID:
    batch_id = await factories.make_batch(
        yard.db, team=yard.team, kind=Kind.CALL, state=BatchState.COMPLETED
    )
    [item_id] = await factories.make_items(
        yard.db,
        team=yard.team,
        batch_id=batch_id,
        phase=Phase.DONE,
        status="failed",
        number="+4520123456",
        payload=payload,
    )
    return item_id


@pytest.mark.parametrize(
    "payload",
    [
        {"expired": "2027"},
        {"erased": "no", "name": "Ann"},
        {"expired": True, "name": "Ann"},
        {"expired": 1},
        {"erased": False},
    ],
    ids=str,
)
async def test_columns_may_be_called_as_what_is_taken_out(yard: Yard, payload: JsonObject) -> None:
    item_id = await failed_call(yard, payload)
    path = f"{PREFIX}/items/{item_id}"
    async with yard.client() as client:
        page = (await client.get(path)).text
        retried = await client.post(f"{path}/retry")
    assert "is kept" not in page
    assert "no longer kept" not in page
    assert "<dd>+4520123456</dd>" in page
    assert 'id="do-correct"' in page
    assert retried.status_code == 303, retried.text


@pytest.mark.parametrize("why,told", [("expired", "no longer kept"), ("erased", "be forgotten")])
async def test_what_was_taken_out_is_neither_shown_nor_tried_again(
    yard: Yard, why: str, told: str
) -> None:
    item_id = await failed_call(yard, {why: True})
    path = f"{PREFIX}/items/{item_id}"
    async with yard.client() as client:
        page = (await client.get(path)).text
        retried = await client.post(f"{path}/retry")
    assert told in page
    assert 'id="do-' not in page
    assert retried.status_code == 409


LONG = 12345678901234568000001
"""More than 64 bits hold, and more digits than a fraction has."""


async def test_numbers_of_any_size_are_shown_and_corrected_to_a_text(yard: Yard) -> None:
    item_id = await failed_call(yard, {})
    await yard.execute(
        "UPDATE item_data SET payload = %s::jsonb, result = %s::jsonb WHERE item_id = %s",
        [
            f'{{"order": {{"tracking": {LONG}}}, "name": "Ann"}}',
            f'{{"tracking": {LONG}, "currency": "SEK", "price_minor": {LONG}{LONG}}}',
            item_id,
        ],
    )
    path = f"{PREFIX}/items/{item_id}"
    async with yard.client() as client:
        page = await client.get(path)
        assert page.status_code == 200
        assert page.text.count(f"&#34;tracking&#34;: {LONG}") == 2
        assert f"{LONG}{LONG}</dd>" in page.text
        shown = form_of((await client.get(f"{path}/correct")).text, f"{path}/correct")
        wrong = await client.post(f"{path}/correct", data=shown | {"json": ['{"name": NaN}']})
        assert wrong.status_code == 422
        shown["json"] = [shown["json"][0].replace("Ann", "Zoë")]
        long = await client.post(f"{path}/correct", data=shown)
        assert (long.status_code, "more than 64 bits" in long.text) == (422, True)
        shown["json"] = [shown["json"][0].replace(str(LONG), f'"{LONG}"')]
        assert (await client.post(f"{path}/correct", data=shown)).status_code == 303
    kept = "SELECT payload::text FROM item_data WHERE item_id = %s"
    assert await yard.value(kept, [item_id]) == (
        f'{{"name": "Zoë", "order": {{"tracking": "{LONG}"}}}}'
    )
