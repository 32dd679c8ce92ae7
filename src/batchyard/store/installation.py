"""Facts of this installation that every process shares."""

import os

from batchyard.store.db import Connection

ENSURE = """
INSERT INTO installation (name, value) VALUES (%(name)s, %(value)s)
ON CONFLICT (name) DO UPDATE SET name = excluded.name
RETURNING value
"""

CALLBACK_KEY = "callback_key"


async def ensure_callback_key(conn: Connection) -> bytes:
    """Return the key that signs callback addresses; made by whoever asks first."""
    row = await (
        await conn.execute(ENSURE, {"name": CALLBACK_KEY, "value": os.urandom(32)})
    ).fetchone()
    return bytes(row[0]) if row and isinstance(row[0], bytes) else b""
