"""Where an e-mail address is found, and whose it is not."""

from collections.abc import Sequence

import pytest
from psycopg.types.json import Jsonb

from batchyard.models import BatchState, Kind, Team
from batchyard.operations import privacy
from batchyard.operations.audit import Actor
from batchyard.store.db import Database
from tests.factories import make_batch, make_items, make_team
from tests.operations.lists import rows_of

ANNA = "anna@example.com"
TINA = "tina@example.com"
"""With its first letter a backslash is a tab."""
ACTOR = Actor(name="test")

ALONE = (
    "{}",
    "Ring back\n{}",
    "Ring back\r\n{}\nor not",
    "\t{}\t",
    "\f{}",
    "\b{}",
    "\x0b{}",
    "\\\n{}",
    "OFFICE\\{}",
    '"{}"',
    "<{}>",
    "mailto:{},",
    "Write to {}.",
    "{}. Bye",
    "{}.\nBye",
    "{}- urgent",
    "{}...",
)
ANOTHERS = (
    "{}.br",
    "Write to {}.br.",
    "{}-shop.net",
    "{}--shop.net",
    "{}munity.net",
    "jo{}",
    "jo.{}",
    "Ring back\nn{}",
    # A backslash, and whose name begins with what makes a line break of it.
    "OFFICE\\n{}",
    "OFFICE\\\\u000b{}",
)


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


async def count_exported(db: Database, team: Team, email: str) -> int:
    pages = await privacy.export_person(db, team=team, actor=ACTOR, number=None, email=email)
    return sum([len(rows) async for kind, rows in pages if kind == "items"])


@pytest.mark.parametrize(
    "email, found, left",
    [
        (ANNA, [text.format(ANNA) for text in ALONE], [text.format(ANNA) for text in ANOTHERS]),
        (ANNA, [ANNA.upper(), f"{ANNA}\n{ANNA}.br"], []),
        (TINA, [text.format(TINA) for text in ALONE], [f"\t{TINA[1:]}", f"\\\t{TINA[1:]}"]),
    ],
)
async def test_address_is_found_where_it_stands_alone(
    db: Database, team: Team, email: str, found: Sequence[str], left: Sequence[str]
) -> None:
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.PAUSED)
    for text in (*found, *left):
        await make_items(db, team=team, batch_id=batch_id, payload={"note": text})

    exported = await count_exported(db, team, email)
    done = await privacy.erase_person(db, team=team, actor=ACTOR, number=None, email=email)

    stands = "SELECT payload, phase FROM items JOIN item_data ON item_id = id ORDER BY position"
    assert await rows_of(db, stands) == [
        *(({"erased": True}, "done") for _ in found),
        *(({"note": text}, "ready") for text in left),
    ]
    assert (exported, done.items) == (len(found), len(found))


@pytest.mark.parametrize("email", [ANNA, TINA])
async def test_address_is_found_in_the_lines_of_refused_rows_and_of_remarks(
    db: Database, team: Team, email: str
) -> None:
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.PAUSED)
    texts = (f"Ring back\n{email}", f"OFFICE\\{email}", f"{email}.br", f"OFFICE\\n{email}")
    async with db.transaction() as conn:
        for line, text in enumerate(texts):
            await conn.execute(
                "INSERT INTO rejected_rows (batch_id, line, code, reason, cells)"
                " VALUES (%s, %s, 'x', 'wrong', %s)",
                (batch_id, line, Jsonb([text])),
            )
            await conn.execute(
                "INSERT INTO row_warnings (batch_id, line, code, reason) VALUES (%s, %s, 'x', %s)",
                (batch_id, line, text),
            )

    await privacy.erase_person(db, team=team, actor=ACTOR, number=None, email=email)

    cells = "SELECT cells FROM rejected_rows ORDER BY line"
    assert await rows_of(db, cells) == [([],), ([],), ([texts[2]],), ([texts[3]],)]
    reasons = "SELECT reason FROM row_warnings ORDER BY line"
    assert await rows_of(db, reasons) == [("erased",), ("erased",), (texts[2],), (texts[3],)]
