"""Who leads the housekeeping: the holder of an advisory lock, for as long as it is heard of."""

from datetime import datetime

from batchyard.store.db import Connection

LEADER_LOCK = 0x6261746368  # 'batch'

TRY_TO_LEAD = "SELECT pg_try_advisory_lock(%(key)s)"


async def try_to_lead(conn: Connection) -> bool:
    """Take the lead unless another has it; it is kept until the connection ends."""
    row = await (await conn.execute(TRY_TO_LEAD, {"key": LEADER_LOCK})).fetchone()
    return bool(row and row[0])


# A process that was stopped, or whose machine was, keeps its connection and so the lock. The
# lock of a bigint shows as its upper and lower half.
UNSEAT_SILENT = """
SELECT pg_terminate_backend(a.pid)
  FROM pg_locks l
  JOIN pg_stat_activity a ON a.pid = l.pid
  JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
   AND l.classid::bigint = %(key)s >> 32 AND l.objid::bigint = %(key)s & 4294967295
   AND a.state = 'idle' AND a.state_change < %(before)s
"""


async def unseat_silent(conn: Connection, *, before: datetime) -> bool:
    """Take the lead from a leader that asked nothing since `before`; tell whether there was one."""
    cursor = await conn.execute(UNSEAT_SILENT, {"key": LEADER_LOCK, "before": before})
    return cursor.rowcount > 0
