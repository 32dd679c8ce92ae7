"""Items written by COPY come back as they were given."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.models import Kind
from batchyard.operations.batches import create_batch
from batchyard.operations.teams import create_team
from batchyard.store.db import Database
from batchyard.store.ids import new_id
from batchyard.store.item_intake import NewItem, copy_items, render_items, select_items

AWKWARD = ["", "\\N", "a\tb\nc\rd\\e", '"quoted"', "\\.", "ø€😀", "x" * 5000]


@pytest.mark.parametrize("text", AWKWARD)
async def test_every_text_survives_the_copy(db: Database, text: str) -> None:
    team = await create_team(db, name="Acme", slug="acme")
    batch_id = await create_batch(db, team=team, kind=Kind.SHIPMENT)
    payload = {text: [text, {"nested": text}], "number": 1.5, "none": None}
    item = NewItem(
        id=new_id(),
        position=3,
        payload=payload,
        number=text,
        from_number=text,
        reference=text,
    )
    bare = NewItem(id=new_id(), position=4, payload={})
    now = db.clock()
    async with db.transaction() as conn:
        added = await copy_items(
            conn, batch_id=batch_id, team_id=team.id, rows=[item, bare], now=now
        )
    assert added == 2
    async with db.pool.connection() as conn:
        kept = await (
            await conn.execute(
                "SELECT item_id, position, number, from_number, reference, payload, created_at"
                "  FROM item_data ORDER BY position"
            )
        ).fetchall()
        items = await (
            await conn.execute("SELECT phase, status, due_at, updated_at FROM items")
        ).fetchall()
    assert kept == [
        (item.id, 3, text, text, text, payload, now),
        (bare.id, 4, None, None, None, {}, now),
    ]
    assert items == [("ready", "waiting", now, now)] * 2


async def test_no_items_are_no_copy(db: Database) -> None:
    async with db.transaction() as conn:
        added = await copy_items(conn, batch_id=uuid4(), team_id=1, rows=[], now=db.clock())
    assert added == 0


def test_items_that_stay_take_turns_without_gaps() -> None:
    rows = [NewItem(id=new_id(), position=n, turn=n, payload={}) for n in range(5)]
    rows.append(NewItem(id=new_id(), position=5, payload={}))
    block = render_items(rows, batch_id=uuid4(), team_id=1, now=datetime(2026, 1, 1, tzinfo=UTC))
    chosen = select_items(block, [False, True, True, False, True, True])
    fields = [line.split(b"\t") for line in chosen.data.splitlines()]
    assert [(line[2], line[3]) for line in fields] == [
        (b"1", b"0"),
        (b"2", b"1"),
        (b"4", b"2"),
        (b"5", b"\\N"),
    ]
    ids = [str(rows[index].id).encode() for index in (1, 2, 4, 5)]
    assert [line[0] for line in fields] == ids
    assert [line.split(b"\t")[0] for line in chosen.items.splitlines()] == ids
    assert chosen.count == 4


def test_items_that_stay_go_on_where_their_block_began() -> None:
    rows = [NewItem(id=new_id(), position=n, turn=2000 + n, payload={}) for n in range(4)]
    block = render_items(rows, batch_id=uuid4(), team_id=1, now=datetime(2026, 1, 1, tzinfo=UTC))
    chosen = select_items(block, [False, True, False, True])
    turns = [line.split(b"\t")[3] for line in chosen.data.splitlines()]
    assert turns == [b"2000", b"2001"]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=5))
def test_each_item_is_one_line_of_each_copy(texts: list[str]) -> None:
    rows = [
        NewItem(id=new_id(), position=n, payload={"t": text}, number=text)
        for n, text in enumerate(texts)
    ]
    block = render_items(rows, batch_id=uuid4(), team_id=1, now=datetime(2026, 1, 1, tzinfo=UTC))
    assert block.items.count(b"\n") == block.data.count(b"\n") == block.count == len(texts)
    assert all(line.count(b"\t") == 8 for line in block.data.split(b"\n")[:-1])
