"""The distributed engine's queue of turns, and the wakes that fill it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import procrastinate
import psycopg
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException

from batchyard.limits import SHARE_SECONDS
from batchyard.store.db import Connection, PatientConnection

TURN_QUEUE = "turns"
TURN_TASK = "batchyard.turn"


def make_app(url: str) -> procrastinate.App:
    """Build the Procrastinate app of this process; open it only where turns are served.

    Deferring happens on our own connections, so that a turn commits with the data it is for.
    """
    return procrastinate.App(
        connector=procrastinate.PsycopgConnector(
            conninfo=url, min_size=1, max_size=4, connection_class=PatientConnection
        ),
        worker_defaults={
            "queues": [TURN_QUEUE],
            "delete_jobs": "always",
            "fetch_job_polling_interval": 0.5,
            "update_heartbeat_interval": 2.0,
            # A pruned but living worker dies at its next fetch, so nobody prunes here.
            "stalled_worker_timeout": timedelta(days=1).total_seconds(),
            "install_signal_handlers": False,
            "listen_notify": True,
        },
    )


_deferring = procrastinate.App(connector=procrastinate.PsycopgConnector())
"""Never opened: it only builds jobs that are inserted on the caller's connection."""

WAKE = """
INSERT INTO wakes AS w (team_id, wake_at, version)
VALUES (%(team_id)s, %(now)s, 1)
ON CONFLICT (team_id) DO UPDATE
   SET wake_at = least(w.wake_at, excluded.wake_at), version = w.version + 1
"""


async def wake(conn: Connection, *, team_id: int, now: datetime) -> None:
    """Give the team a turn as soon as a worker is free; part of the caller's transaction.

    Locks the team's wake row until the end of the transaction: call it last.
    """
    await conn.execute(WAKE, {"team_id": team_id, "now": now})
    await defer_turn(conn, team_id=team_id)


# Looked up first: each unique violation would be an ERROR in PostgreSQL's log.
WAITS = "SELECT FROM procrastinate_jobs WHERE queueing_lock = %(lock)s AND status = 'todo'"


async def defer_turn(conn: Connection, *, team_id: int) -> None:
    """Put a turn of the team into the queue unless one waits there already.

    Holds the team's place in the queue until the end of the transaction: whoever defers for
    several teams goes by id.
    """
    lock = f"team:{team_id}"
    if (await conn.execute(WAITS, {"lock": lock})).rowcount:
        return
    job = _deferring.configure_task(
        TURN_TASK,
        allow_unknown=True,
        queue=TURN_QUEUE,
        queueing_lock=lock,
        connection=conn,
    )
    try:
        # A savepoint: the unique violation must not undo the caller's work.
        async with conn.transaction():
            await job.defer_async(team_id=team_id)
    except AlreadyEnqueued:
        pass
    except ConnectorException as error:
        # Told as what it is, so that a deadlock or a lost connection is repeated.
        fault = error.__cause__
        if isinstance(fault, psycopg.Error):
            raise type(fault)(*fault.args) from error
        raise


# Beside the teams of the items come those that rest until these providers have room again, at most
# as many as there is room for, the longest waiting first. Who looks again soon by itself, because
# its share is dealt anew then, need not be woken.
SETTLED_WAKE = """
WITH concerned AS (
    SELECT t.team_id, t.wake_at
      FROM unnest(%(team_ids)s::bigint[], %(wake_ats)s::timestamptz[]) AS t (team_id, wake_at)
    UNION ALL
    (SELECT team_id, %(now)s::timestamptz FROM wakes
      WHERE held_by <> '{}' AND held_by && %(provider_ids)s::int[] AND is_capped
        AND wake_at > %(soon)s
      ORDER BY rested_at LIMIT %(freed)s)
)
INSERT INTO wakes AS w (team_id, wake_at, version)
SELECT team_id, min(wake_at), 1 FROM concerned GROUP BY team_id ORDER BY team_id
ON CONFLICT (team_id) DO UPDATE
   SET wake_at = least(w.wake_at, excluded.wake_at), version = w.version + 1
RETURNING w.team_id, w.is_capped
"""

WOKEN_AT_ONCE = 4
"""So many teams are woken at most when something has ended; those behind them when more has."""


async def wake_after_settling(
    conn: Connection,
    wakes: Sequence[tuple[int, datetime]],
    *,
    freed: Mapping[int, int],
    flushes: int = 1,
    now: datetime,
) -> None:
    """Note when each team can do something again; a team held by a cap gets its turn at once.

    `freed` says how many items left which providers, in so many flushes: other teams may wait for
    their room.
    """
    cursor = await conn.execute(
        SETTLED_WAKE,
        {
            "team_ids": [team for team, _ in wakes],
            "wake_ats": [at for _, at in wakes],
            "provider_ids": list(freed),
            "freed": min(sum(freed.values()), WOKEN_AT_ONCE * flushes),
            "now": now,
            "soon": now + timedelta(seconds=SHARE_SECONDS),
        },
    )
    capped = [int(str(team_id)) for team_id, is_capped in await cursor.fetchall() if is_capped]
    for team_id in sorted(capped):
        await defer_turn(conn, team_id=team_id)


READ_WAKE = """
INSERT INTO wakes AS w (team_id) VALUES (%(team_id)s)
ON CONFLICT (team_id) DO UPDATE SET team_id = w.team_id
RETURNING w.version, w.held_by
"""


async def read_wake(conn: Connection, *, team_id: int) -> tuple[int, frozenset[int]]:
    """Return the version of the team's wake, to be compared in `rest`, and by whom it is held."""
    row = await (await conn.execute(READ_WAKE, {"team_id": team_id})).fetchone()
    if row is None or not isinstance(row[1], list):
        return 0, frozenset()
    return int(str(row[0])), frozenset(row[1])


NOTE_HELD = "UPDATE wakes SET held_by = %(provider_ids)s::int[] WHERE team_id = %(team_id)s"


async def note_held(conn: Connection, *, team_id: int, provider_ids: Collection[int]) -> None:
    """Keep which providers have too little room for the team: others leave it its share there."""
    await conn.execute(NOTE_HELD, {"team_id": team_id, "provider_ids": sorted(provider_ids)})


REST = """
UPDATE wakes
   SET wake_at = coalesce(%(wake_at)s::timestamptz, 'infinity'), is_capped = %(is_capped)s,
       held_by = %(provider_ids)s::int[], rested_at = %(now)s
 WHERE team_id = %(team_id)s AND version = %(version)s
"""


async def rest(
    conn: Connection,
    *,
    team_id: int,
    version: int,
    wake_at: datetime | None,
    is_capped: bool,
    held_by: Collection[int] = (),
    now: datetime,
) -> bool:
    """Let the team sleep until `wake_at` (None: until something wakes it).

    Return False, and change nothing, when it was woken since `version` was read.
    """
    cursor = await conn.execute(
        REST,
        {
            "team_id": team_id,
            "version": version,
            "wake_at": wake_at,
            "is_capped": is_capped,
            "provider_ids": sorted(held_by),
            "now": now,
        },
    )
    return cursor.rowcount == 1


DUE_WAKES = """
SELECT team_id FROM wakes WHERE wake_at <= %(now)s ORDER BY team_id
"""


async def defer_due_turns(conn: Connection, *, now: datetime) -> int:
    """Put a turn into the queue for every team whose time has come; return how many."""
    teams = await (await conn.execute(DUE_WAKES, {"now": now})).fetchall()
    for (team_id,) in teams:
        await defer_turn(conn, team_id=int(str(team_id)))
    return len(teams)


SWEEP = """
WITH sleeping AS MATERIALIZED (
    SELECT w.team_id FROM wakes w
     WHERE w.wake_at > %(now)s
       AND EXISTS (
           SELECT FROM batches b
            WHERE b.team_id = w.team_id AND b.state IN ('queued', 'running')
              AND EXISTS (SELECT FROM items i
                           WHERE i.batch_id = b.id AND i.phase = 'ready' AND i.due_at <= %(now)s))
     ORDER BY w.team_id
       FOR UPDATE OF w
)
UPDATE wakes w SET wake_at = %(now)s, version = w.version + 1
  FROM sleeping s
 WHERE w.team_id = s.team_id
"""


async def sweep_sleepers(conn: Connection, *, now: datetime) -> int:
    """Wake teams that sleep although they have due items; mends a crash between two commits."""
    return (await conn.execute(SWEEP, {"now": now})).rowcount


OTHERS_WAIT = """
SELECT EXISTS (
    SELECT FROM procrastinate_jobs
     WHERE status = 'todo' AND queue_name = %(queue)s AND queueing_lock <> ALL (%(locks)s))
"""


async def do_others_wait(conn: Connection, *, team_ids: Collection[int]) -> bool:
    """Tell whether a turn of a team besides these waits in the queue."""
    locks = [f"team:{team_id}" for team_id in team_ids]
    cursor = await conn.execute(OTHERS_WAIT, {"queue": TURN_QUEUE, "locks": locks})
    row = await cursor.fetchone()
    return bool(row and row[0])


END_STALLED = """
WITH dead AS (
    DELETE FROM procrastinate_workers WHERE last_heartbeat < %(before)s RETURNING id
)
DELETE FROM procrastinate_jobs j
 WHERE j.status = 'doing' AND j.queue_name = %(queue)s
   AND (j.worker_id IS NULL OR j.worker_id IN (SELECT id FROM dead))
RETURNING (j.args ->> 'team_id')::bigint
"""


async def end_stalled_turns(conn: Connection, *, before: datetime) -> list[int]:
    """End the turns of workers silent since `before`; return their teams, to be woken.

    They are ended, not retried: a retry would meet its twin's queueing lock.
    """
    cursor = await conn.execute(END_STALLED, {"before": before, "queue": TURN_QUEUE})
    return [int(str(row[0])) for row in await cursor.fetchall()]
