"""Lists: filters and search in the address, pages forwards and backwards, nothing lost."""

import re
from uuid import UUID

import httpx
import pytest

from batchyard.dashboard import batch_items, batches
from batchyard.dashboard.visitors import PREFIX
from batchyard.models import BatchState, Kind, Phase
from batchyard.operations import control, users
from tests import factories
from tests.dashboard.conftest import Yard, batch_path

pytestmark = pytest.mark.asyncio(loop_scope="session")


def shown(text: str) -> list[str]:
    """Return the names of a list, from above."""
    return [name.strip() for name in re.findall(r'class="name"[^>]*>([^<]+)</a>', text)]


def link(text: str, name: str) -> str | None:
    """Return where a page before or after is."""
    match = re.search(rf'id="page-{name}" href="([^"]+)"', text)
    return match[1].replace("&amp;", "&") if match else None


async def pages(client: httpx.AsyncClient, path: str) -> list[list[str]]:
    """Read a list to its end, then back to its begin; both ways tell the same."""
    forwards, backwards = [], []
    last: str | None = path
    while last is not None:
        text = (await client.get(last)).text
        forwards.append(shown(text))
        back, last = last, link(text, "next")
    before = link((await client.get(back)).text, "previous")
    while before is not None:
        text = (await client.get(before)).text
        backwards.append(shown(text))
        before = link(text, "previous")
    assert backwards[::-1] == forwards[:-1]
    return forwards


async def test_batches_are_filtered_and_searched(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    for name, kind, state in (
        ("Monday calls", Kind.CALL, BatchState.RUNNING),
        ("Tuesday", Kind.SHIPMENT, BatchState.PAUSED),
        ("100% done_", Kind.SHIPMENT, BatchState.COMPLETED),
    ):
        batch_id = await factories.make_batch(
            yard.db, team=team, kind=kind, state=state, reference=name
        )
    async with yard.client(team=team) as client:
        for query, names in (
            ("", ["100% done_", "Tuesday", "Monday calls"]),
            ("kind=call", ["Monday calls"]),
            ("state=paused", ["Tuesday"]),
            ("state=ended&kind=shipment", ["100% done_"]),
            ("q=DAY", ["Tuesday", "Monday calls"]),
            ("q=day&state=running", ["Monday calls"]),
            ("q=0%25", ["100% done_"]),
            (f"q={batch_id}", ["100% done_"]),
            ("q=%00", ["100% done_", "Tuesday", "Monday calls"]),
            ("kind=no&state=no", ["100% done_", "Tuesday", "Monday calls"]),
        ):
            answer = await client.get(f"{PREFIX}/batches?{query}")
            assert shown(answer.text) == names, query
        nothing = (await client.get(f"{PREFIX}/batches?q=zzz")).text
        assert "No batch is like that" in nothing
    async with yard.client(team=await factories.make_team(yard.db)) as client:
        assert "No batches yet" in (await client.get(f"{PREFIX}/batches")).text


async def test_batches_are_paged_both_ways(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "PAGE", 2)
    team = await factories.make_team(yard.db)
    # Made at one moment: the id decides.
    now = yard.db.clock()
    for number in range(5):
        await factories.make_batch(yard.db, team=team, reference=f"b{number}", created_at=now)
    async with yard.client(team=team) as client:
        read = await pages(client, f"{PREFIX}/batches")
    assert read == [["b4", "b3"], ["b2", "b1"], ["b0"]]


async def test_starter_of_a_batch_is_named(yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, reference="whose")
    await factories.make_items(yard.db, team=yard.team, batch_id=batch_id)
    async with yard.client() as client:
        assert "by an API client" in (await client.get(batch_path(batch_id))).text
        await client.post(batch_path(batch_id, "/do/start"))
        page = (await client.get(batch_path(batch_id))).text
        events = (await client.get(batch_path(batch_id, "/events"))).text
    assert "by test" in page
    assert "started it" in events
    assert "It was started." in events


async def test_cancelled_batch_is_deleted(yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, state=BatchState.CANCELLED)
    await factories.make_items(
        yard.db, team=yard.team, batch_id=batch_id, phase=Phase.DONE, status="canceled"
    )
    async with yard.client() as client:
        question = batch_path(batch_id, "/do/delete")
        assert "Delete this batch?" in (await client.get(question)).text
        assert (await client.post(question)).status_code == 303
        assert (await client.get(batch_path(batch_id))).status_code == 404


async def make_numbered(yard: Yard) -> UUID:
    """Make a batch of seven calls in several statuses."""
    batch_id = await factories.make_batch(
        yard.db, team=yard.team, kind=Kind.CALL, state=BatchState.RUNNING
    )
    for number, phase, status in (
        ("+4520000001", Phase.DONE, "completed"),
        ("+4520000002", Phase.DONE, "failed"),
        ("+4530000003", Phase.READY, "waiting"),
        ("+4530000004", Phase.READY, "retrying"),
        ("+4530000005", Phase.LIVE, "ringing"),
        ("+4530000006", Phase.UNKNOWN, "unknown"),
        ("+4530000007", Phase.DONE, "failed"),
    ):
        await factories.make_items(
            yard.db,
            team=yard.team,
            batch_id=batch_id,
            phase=phase,
            status=status,
            number=number,
            payload={"first_name": f"Ann {number[-1]}", "note": "50% off_now"},
        )
    return batch_id


async def test_items_are_filtered_and_searched(yard: Yard) -> None:
    batch_id = await make_numbered(yard)
    async with yard.client() as client:
        for query, ends in (
            ("", "1234567"),
            ("status=failed", "27"),
            ("status=completed", "1"),
            ("status=waiting", "3"),
            ("status=retrying", "4"),
            ("status=ringing", "5"),
            ("status=unknown", "6"),
            ("status=busy", ""),
            ("q=%2B4530", "34567"),
            ("q=%2B4530&status=failed", "7"),
            ("q=%25", ""),
            ("q=ANN+3&in=contents", "3"),
            ("q=50%25&in=contents", "1234567"),
            ("q=ann&in=contents&status=failed", "27"),
            ("line=5", "567"),
            ("line=99", ""),
            ("line=x", "1234567"),
        ):
            text = (await client.get(batch_path(batch_id, f"?{query}"))).text
            assert "".join(name[-1] for name in shown(text)) == ends, query
        item_id = re.search(r"/ui/items/([0-9a-f-]+)", text)
        assert item_id is not None
        found = await client.get(batch_path(batch_id, f"?q={item_id[1]}"))
        assert found.headers["location"] == f"{PREFIX}/items/{item_id[1]}"


@pytest.mark.parametrize("query", ["", "status=failed", "status=waiting", "q=%2B45"])
async def test_items_are_paged_both_ways(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr(batch_items, "PAGE", 3)
    batch_id = await factories.make_batch(yard.db, team=yard.team, state=BatchState.RUNNING)
    for phase, status in ((Phase.DONE, "failed"), (Phase.READY, "waiting")):
        for _ in range(7):
            await factories.make_items(
                yard.db, team=yard.team, batch_id=batch_id, phase=phase, status=status, number="+45"
            )
    async with yard.client() as client:
        read = await pages(client, batch_path(batch_id, f"?{query}"))
    sizes = [3, 3, 3, 3, 2] if query in {"", "q=%2B45"} else [3, 3, 1]
    assert [len(page) for page in read] == sizes


async def test_search_in_contents_goes_on_block_by_block(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_items, "SEARCH_ROWS", 2)
    monkeypatch.setattr(batch_items, "SEARCH_SECONDS", 0)
    batch_id = await make_numbered(yard)
    async with yard.client() as client:
        path: str | None = batch_path(batch_id, "?q=ann+6&in=contents")
        seen = []
        while path is not None:
            text = (await client.get(path)).text
            seen.append((shown(text), re.findall(r"up to line (\d+)", text)))
            path = link(text, "next")
    assert seen == [([], ["2"]), ([], ["4"]), (["+4530000006"], ["6"]), ([], [])]


@pytest.mark.parametrize("cursor", ["x", "WyJ4IiwieSJd", "WzEsMl0", "Wzk5OTk5OTk5OTk5LCJhIl0"])
async def test_cursor_that_is_not_ours_is_a_fault_of_the_address(yard: Yard, cursor: str) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team)
    async with yard.client() as client:
        for path in (batch_path(batch_id), batch_path(batch_id, "?status=waiting")):
            answer = await client.get(path, params={"after": cursor})
            assert answer.status_code == 422, path


async def test_refused_rows_are_paged_and_filtered_by_reason(yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, kind=Kind.CALL)
    await yard.execute(
        "INSERT INTO rejected_rows (batch_id, line, code, reason, cells)"
        " SELECT %s, n, CASE WHEN n %% 2 = 0 THEN 'phone_missing' ELSE 'phone_letters' END,"
        " 'because', '[\"x\"]' FROM generate_series(1, 120) AS n",
        [batch_id],
    )
    async with yard.client() as client:

        async def lines(query: str) -> list[int]:
            text = (await client.get(batch_path(batch_id, f"/refused{query}"))).text
            return [int(n) for n in re.findall(r'figure line">(\d+)<', text)]

        assert await lines("") == list(range(1, 51))
        assert await lines("?after=50") == list(range(51, 101))
        assert await lines("?before=51") == list(range(1, 51))
        assert await lines("?after=100") == list(range(101, 121))
        assert await lines("?code=phone_missing&after=100") == list(range(102, 121, 2))
        assert (await client.get(batch_path(batch_id, "/refused?after=-1"))).status_code == 422


@pytest.mark.parametrize("query", ["?after=99999", "?before=0"])
async def test_page_without_refused_rows_does_not_say_that_there_are_none(
    yard: Yard, query: str
) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, kind=Kind.CALL)
    path = batch_path(batch_id, "/refused")
    async with yard.client() as client:
        assert "No row was refused" in (await client.get(path)).text
        await yard.execute(
            "INSERT INTO rejected_rows (batch_id, line, code, reason, cells)"
            " VALUES (%s, 1, 'phone_missing', 'because', '[\"x\"]')",
            [batch_id],
        )
        text = (await client.get(f"{path}{query}")).text
    assert "No row was refused" not in text
    assert f'<a class="button" href="{path}">Show all refused rows</a>' in text


async def test_list_and_page_say_who_paused_a_batch(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    user_id = await users.create_user(
        yard.db, team=team, email="ada@example.com", name="Ada <3", password=None
    )
    batch_id = await factories.make_batch(yard.db, team=team, state=BatchState.RUNNING)
    await control.pause_batch(
        yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id, actor=f"user {user_id}"
    )
    async with yard.client(team=team) as client:
        for path in (f"{PREFIX}/batches", batch_path(batch_id)):
            assert "Ada &lt;3 paused the batch" in (await client.get(path)).text
        await users.remove_user(yard.db, team=team, user_id=user_id)
        for path in (f"{PREFIX}/batches", batch_path(batch_id)):
            assert "Somebody paused the batch" in (await client.get(path)).text
