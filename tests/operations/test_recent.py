"""What a team did lately is by when it was done, not by when its list came in."""

from datetime import timedelta

import pytest

from batchyard.models import Team
from batchyard.store.db import Database
from tests.factories import make_team
from tests.operations.lists import CALLS, upload

ROW = b"phone\n+4520123451\n"
LONG_AGO = timedelta(days=30)

DONE = "UPDATE items SET phase = 'done', status = 'completed', updated_at = %(at)s"
ENDED = "UPDATE item_data SET created_at = %(long_ago)s, ended_at = %(at)s"
CLOSED = "UPDATE batches SET state = 'completed', finished_at = %(at)s, updated_at = %(at)s"
CAME_IN = "UPDATE item_data SET created_at = %(long_ago)s"
WAITS = "UPDATE batches SET updated_at = %(long_ago)s"


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


async def is_duplicate(db: Database, team: Team) -> bool:
    return "duplicate_recent" in (await upload(db, ROW, team=team, options=CALLS)).report().codes


@pytest.mark.parametrize("age, expected", [(timedelta(days=1), True), (timedelta(days=8), False)])
async def test_what_came_in_long_ago_counts_by_its_end(
    db: Database, team: Team, age: timedelta, expected: bool
) -> None:
    await upload(db, ROW, team=team)
    times = {"at": db.clock() - age, "long_ago": db.clock() - LONG_AGO}
    async with db.transaction() as conn:
        for statement in (DONE, ENDED, CLOSED):
            await conn.execute(statement.encode(), times)
    assert await is_duplicate(db, team) is expected


async def test_what_still_has_to_be_done_counts_however_old_it_is(db: Database, team: Team) -> None:
    await upload(db, ROW, team=team)
    async with db.transaction() as conn:
        for statement in (CAME_IN, WAITS):
            await conn.execute(statement.encode(), {"long_ago": db.clock() - LONG_AGO})
    assert await is_duplicate(db, team)
