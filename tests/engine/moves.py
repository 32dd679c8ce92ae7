"""Every move of an item from one phase to another, as a trigger of the test's database saw it."""

from batchyard.lifecycle import ITEM_TRANSITIONS
from batchyard.models import Phase
from batchyard.store.db import Database

RECORD = """
CREATE UNLOGGED TABLE IF NOT EXISTS item_moves (before text NOT NULL, after text NOT NULL);
CREATE OR REPLACE FUNCTION record_item_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO item_moves
    SELECT DISTINCT o.phase, n.phase FROM old_items o JOIN new_items n USING (id)
     WHERE o.phase <> n.phase;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER record_item_moves AFTER UPDATE ON items
    REFERENCING OLD TABLE AS old_items NEW TABLE AS new_items
    FOR EACH STATEMENT EXECUTE FUNCTION record_item_moves();
"""

Moves = set[tuple[Phase, Phase]]


async def record_moves(db: Database) -> None:
    """Record all moves from now on; safe to repeat."""
    async with db.pool.connection() as conn:
        await conn.execute(RECORD)


async def read_moves(db: Database) -> Moves:
    """Return the moves that were recorded."""
    async with db.pool.connection() as conn:
        cursor = await conn.execute("SELECT DISTINCT before, after FROM item_moves")
        return {
            (Phase(str(before)), Phase(str(after))) for before, after in await cursor.fetchall()
        }


def unknown_moves(moves: Moves) -> Moves:
    """Return those that the lifecycle's table does not have."""
    return {(before, after) for before, after in moves if after not in ITEM_TRANSITIONS[before]}
