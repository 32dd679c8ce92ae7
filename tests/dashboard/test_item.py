"""The page of an item: every attempt with what the provider answered to it."""

import re
from collections.abc import Mapping

import orjson
import pytest

from batchyard.dashboard.visitors import PREFIX
from batchyard.models import BatchState, Phase
from tests import factories
from tests.dashboard.conftest import Yard

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
