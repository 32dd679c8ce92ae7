"""Remarks on rows that were taken all the same reach the person before anything starts."""

import html
import re

import httpx
import pytest

from batchyard.dashboard.visitors import PREFIX
from batchyard.intake.verdicts import WARNINGS
from batchyard.models import Kind
from tests import factories
from tests.dashboard.conftest import Yard

pytestmark = pytest.mark.asyncio(loop_scope="session")

TWICE = b"contact_number,name\n+4520123456,Ann\n+4520123456,Bob\n+4520123457,Cid\n"
HEADING = "Remarks on what was taken"


async def upload(client: httpx.AsyncClient, path: str, *, content: bytes, **said: str) -> str:
    """Send a file as a page does; return where that leads."""
    answer = await client.post(
        f"{PREFIX}{path}", data=said, files={"file": ("people.csv", content)}
    )
    assert answer.status_code == 204, answer.text
    return answer.headers["HX-Redirect"]


async def read(client: httpx.AsyncClient, path: str) -> tuple[str, list[str]]:
    """Return what a page says once, and the remarks on it."""
    text = (await client.get(path)).text
    notices = re.findall(r'<p class="notice" role="status">(.*?)</p>', text)
    _, found, rest = text.partition(HEADING)
    told = re.findall(r"<li>(.*?)</li>", rest.partition("</section>")[0], re.DOTALL)
    remarks = [" ".join(re.sub(r"<[^>]+>", "", one).split()) for one in told]
    assert bool(found) == bool(remarks)
    return html.unescape("".join(notices)), [html.unescape(one) for one in remarks]


async def test_same_list_uploaded_twice_is_told_before_it_starts(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    said = {"kind": "call", "agent_id": str(await factories.make_agent(yard.db, team=team))}
    in_file, recent, same = (
        WARNINGS[code].sentence for code in ("duplicate_in_file", "duplicate_recent", "same_file")
    )
    async with yard.client(team=team) as client:
        first = await upload(client, "/new/upload", content=TWICE, **said)
        assert await read(client, first) == (
            "3 rows were taken. There is 1 remark. Nothing has started yet.",
            [in_file],
        )
        second = await upload(client, "/new/upload", content=TWICE, **said)
        told, remarks = await read(client, second)
        link = f'<a href="{first.removesuffix("/rehearsal")}">It went into people.csv.</a>'
        assert link in (await client.get(second)).text
        # Said at every look, not only once.
        assert (await read(client, second)) == ("", remarks)
    assert told == (f"3 rows were taken. There are 5 remarks. {same} Nothing has started yet.")
    assert remarks == [f"3 {recent}", in_file, f"{same} It went into people.csv."]


async def test_what_was_refused_is_no_remark(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    said = {"kind": "call", "agent_id": str(await factories.make_agent(yard.db, team=team))}
    async with yard.client(team=team) as client:
        path = await upload(client, "/new/upload", content=TWICE, duplicates="refuse", **said)
        assert await read(client, path) == (
            "2 rows were taken. 1 row was refused. Nothing has started yet.",
            [],
        )


async def test_refused_rows_are_filtered_by_what_refused_them_only(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    said = {"kind": "call", "agent_id": str(await factories.make_agent(yard.db, team=team))}
    faulty = TWICE + b"+4520I23456,Dan\n,Eve\n"
    async with yard.client(team=team) as client:
        path = await upload(client, "/new/upload", content=faulty, **said)
        page = await client.get(path.replace("/rehearsal", "/refused"))
    assert sorted(re.findall(r'/refused\?code=(\w+)"', page.text)) == [
        "phone_letters",
        "phone_missing",
    ]


async def test_remarks_on_corrected_rows_are_told(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    batch_id = await factories.make_batch(yard.db, team=team, kind=Kind.CALL)
    async with yard.client(team=team) as client:
        path = await upload(client, f"/batches/{batch_id}/refused/file", content=TWICE)
        assert await read(client, path) == (
            "3 rows were taken. There is 1 remark.",
            [WARNINGS["duplicate_in_file"].sentence],
        )
