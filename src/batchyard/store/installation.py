"""Facts of this installation that every process shares."""

import os

from batchyard.store.db import Connection

ENSURE = """
INSERT INTO installation (name, value) VALUES (%(name)s, %(value)s)
ON CONFLICT (name) DO UPDATE SET name = excluded.name
RETURNING value
"""

CALLBACK_KEY = "callback_key"
DOCUMENT_KEY = "document_key"


async def ensure_callback_key(conn: Connection) -> bytes:
    """Return the key that signs callback addresses; made by whoever asks first."""
    return await _ensure(conn, CALLBACK_KEY)


async def ensure_document_key(conn: Connection) -> bytes:
    """Return the key that signs addresses of documents; made by whoever asks first."""
    return await _ensure(conn, DOCUMENT_KEY)


async def _ensure(conn: Connection, name: str) -> bytes:
    row = await (await conn.execute(ENSURE, {"name": name, "value": os.urandom(32)})).fetchone()
    return bytes(row[0]) if row and isinstance(row[0], bytes) else b""
