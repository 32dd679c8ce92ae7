"""What a rehearsal reads."""

from batchyard.models import Kind
from batchyard.store import rehearsals
from batchyard.store.db import Database
from tests.factories import make_batch, make_items, make_team


async def test_chosen_items_are_read_in_their_order_however_they_are_found(db: Database) -> None:
    team = await make_team(db)
    batch_id = await make_batch(db, team=team, kind=Kind.CALL)
    chosen = {}
    for n in (3, 1, 4, 2, 5):
        number = f"+452000000{n}"
        [item_id] = await make_items(db, team=team, batch_id=batch_id, number=number)
        chosen[number] = item_id
    numbers = sorted(chosen)
    async with db.transaction() as conn:
        # What is left sorts by the ids, which rise as the items were made.
        await conn.execute("SET LOCAL enable_nestloop = off")
        await conn.execute("SET LOCAL enable_hashjoin = off")
        read = await rehearsals.read_items(conn, item_ids=[chosen[one] for one in numbers])
    assert [one.number for one in read] == numbers
