"""The files of results that the page of a batch offers: only what can be had."""

import re

import httpx
import pytest

from batchyard.models import BatchState, Phase
from tests import factories
from tests.dashboard.conftest import Yard, batch_path

pytestmark = pytest.mark.asyncio(loop_scope="session")

LATER = "To be had once the batch has ended."


async def read_links(client: httpx.AsyncClient, page: str) -> dict[str, str]:
    """Return the links of a page to files of results, whole, by the names of the files."""
    text = (await client.get(page)).text
    links = re.findall(rf'<a [^>]*href="{page}/[^>]*>', text)
    return {re.findall(r'/results/([^"]+)"', link)[0]: link for link in links}


async def test_evidence_is_offered_once_it_can_be_had(yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, state=BatchState.STOPPED)
    await factories.make_items(
        yard.db, team=yard.team, batch_id=batch_id, phase=Phase.LIVE, status="processing"
    )
    page = batch_path(batch_id, "/results")
    async with yard.client() as client:
        assert set(await read_links(client, page)) == {"results.csv", "results.ndjson"}
        assert LATER in (await client.get(page)).text
        refused = await client.get(f"{page}/evidence.zip")
        assert (refused.status_code, "have not ended" in refused.text) == (409, True)

        await yard.execute(
            "UPDATE items SET phase = 'done', status = 'booked' WHERE batch_id = %s", [batch_id]
        )
        links = await read_links(client, page)
        assert set(links) == {"results.csv", "results.ndjson", "labels.pdf", "evidence.zip"}
        assert LATER not in (await client.get(page)).text
        for name in ("results.csv", "results.ndjson", "evidence.zip"):
            answer = await client.get(f"{page}/{name}")
            assert answer.headers["Content-Disposition"].startswith("attachment;"), name
    # A browser that was told to download shows no page that says why it cannot be.
    assert [link for link in links.values() if "download" in link] == []


@pytest.mark.parametrize(
    "state,phase,status,is_offered",
    [
        (BatchState.CANCELLED, Phase.DONE, "canceled", True),
        (BatchState.CANCELLED, Phase.READY, "waiting", False),
        (BatchState.STOPPED, Phase.UNKNOWN, "unknown", True),
        (BatchState.STOPPED, Phase.READY, "waiting", False),
        (BatchState.RUNNING, Phase.DONE, "booked", False),
    ],
)
async def test_evidence_that_is_offered_comes(
    yard: Yard, state: BatchState, phase: Phase, status: str, *, is_offered: bool
) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, state=state)
    await factories.make_items(
        yard.db, team=yard.team, batch_id=batch_id, phase=phase, status=status
    )
    page = batch_path(batch_id, "/results")
    async with yard.client() as client:
        links = await read_links(client, page)
        answer = await client.get(f"{page}/evidence.zip")
    assert ("evidence.zip" in links, answer.status_code == 200) == (is_offered, is_offered)
