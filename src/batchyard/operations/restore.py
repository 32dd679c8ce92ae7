"""Takes a database into use again that was restored from a backup."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from batchyard.encryption import Vault
from batchyard.errors import ConfigError, NotFound
from batchyard.lifecycle import BatchEvent, next_batch_state
from batchyard.models import BatchState, Policy, Team
from batchyard.operations.audit import Actor, note_to
from batchyard.operations.providers import read_promise
from batchyard.operations.transactions import Transactions
from batchyard.providers.base import Promise
from batchyard.store import control, live, providers, queue, restores, teams, workers
from batchyard.store.db import Connection, Database

BLOCK = 5000

SILENT_AFTER = timedelta(seconds=10)
"""A worker that beat within this time may still run."""

WATCH_SECONDS = 5.0
"""Longer than two beats: whoever runs is heard in this time. It is counted in looks: while the
machine stands still nobody can beat, and nobody looks either."""

LOOK_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """What was done about effects the backup does not know of."""

    backup_at: datetime | None
    batches: int
    paused: int
    unknown: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """What a provider can tell or bear after a restore."""

    provider_id: int
    name: str
    is_silent: bool
    """What it may have been sent since the backup nobody can find out."""
    reason: str
    repeat_until: datetime | None = None
    """Keys may be sent again only until then."""


async def is_worker_alive(db: Database) -> bool:
    """Tell whether a worker runs; a beat that the backup brought along is not taken for life."""
    async with db.pool.connection() as conn:
        started_at = db.clock()
        if not await workers.count_alive(conn, since=started_at - SILENT_AFTER):
            return False
        for _ in range(round(WATCH_SECONDS / LOOK_SECONDS)):
            if await workers.count_alive(conn, since=started_at):
                return True
            await asyncio.sleep(LOOK_SECONDS)
    return False


async def judge_providers(
    db: Database, vault: Vault, *, held_silent: Collection[str] = ()
) -> list[Outlook]:
    """Tell of each provider, removed ones too, whether it can be asked or sent a key again.

    Those named in `held_silent` count as neither. Raises `NotFound` for a name that is none, and
    `ConfigError` for a provider that cannot be opened: a forgotten key must not cost its answers.
    """
    async with db.pool.connection() as conn:
        backup_at = await restores.read_backup_time(conn)
        rows = await providers.list_all(conn)
    for name in held_silent:
        if name not in {row.name for row in rows}:
            raise NotFound(f"There is no provider named '{name}'.")
    outlooks = []
    for row in rows:
        promise, fault = await read_promise(db, vault, row)
        if row.name in held_silent:
            is_silent, reason, until = True, "is not sent a key again, as you said", None
        elif promise is None and row.removed_at is None:
            cause = (fault or "").rstrip(".")
            raise ConfigError(
                f"'{row.name}' cannot be opened: {cause}. Mend that, or say --silent {row.name}: "
                "what it may have been sent becomes unknown."
            )
        elif promise is None:
            is_silent, reason, until = True, "was removed", None
        else:
            is_silent, reason, until = _judge(promise, backup_at=backup_at, now=db.clock())
        outlooks.append(
            Outlook(
                provider_id=row.id,
                name=row.name,
                is_silent=is_silent,
                reason=reason,
                repeat_until=until,
            )
        )
    return outlooks


def _judge(
    promise: Promise, *, backup_at: datetime | None, now: datetime
) -> tuple[bool, str, datetime | None]:
    if promise.is_askable:
        return False, "is asked about each key before it is sent", None
    if promise.policy is not Policy.REPEATABLE:
        return True, "can neither be asked nor be sent a key again", None
    if promise.key_ttl is None:
        return False, "honours a repeated key for ever", None
    if backup_at is None:
        return True, "honours a repeated key for a time only, and no worker dates the backup", None
    until = backup_at + promise.key_ttl - promise.timeout
    if now >= until:
        return True, "has forgotten keys it was sent after the backup", None
    return False, "honours a repeated key", until


async def mark_restored(
    db: Database,
    *,
    silent_providers: Collection[int],
    default_provider: int,
    actor: Actor | None = None,
) -> Restored:
    """Bring running batches up paused, and mark what may have been sent since the backup.

    `silent_providers` can neither be asked nor be sent a key again: their items become unknown.
    For all others a restored batch asks about a key before it sends it, also one that had ended and
    is opened again. The log of every team tells
    that `actor` did it. Run it while no worker runs; safe to repeat.
    """
    async with db.transaction() as conn:
        now = db.clock()
        await live.forget_transactions(conn)
        backup_at = await restores.read_backup_time(conn)
        batches, paused = await restores.pause_all(conn, backup_at=backup_at, now=now)
        await restores.mark_ended(conn, backup_at=backup_at, now=now)
        await workers.end_silent(conn, before=now, now=now)
        await workers.take_back(conn, now=now)
        if actor is not None:
            await _note(conn, actor, backup_at=backup_at, now=now)
    unknown = 0
    while True:
        async with db.transaction() as conn:
            marked = await restores.mark_unknown(
                conn,
                provider_ids=silent_providers,
                default_id=default_provider,
                limit=BLOCK,
                restored_at=now,
            )
        unknown += marked
        if marked == 0:
            return Restored(backup_at=backup_at, batches=batches, paused=paused, unknown=unknown)


async def _note(
    conn: Connection, actor: Actor, *, backup_at: datetime | None, now: datetime
) -> None:
    await note_to(
        conn,
        team_ids=sorted(await teams.list_ids(conn)),
        actor=actor,
        action="database.restored",
        after={"backup_at": backup_at and backup_at.isoformat()},
        now=now,
    )


async def resume_restored(db: Transactions, *, team: Team) -> list[UUID]:
    """Let all batches of a team go on that a restore paused; return which."""
    async with db.transaction() as conn:
        found = await restores.lock_restored(conn, team_id=team.id)
        now = db.clock()
        state = next_batch_state(BatchState.PAUSED, BatchEvent.RESUMED)
        for batch_id in found:
            await control.set_state(conn, batch_id=batch_id, state=state, reason=None, now=now)
        if found:
            await queue.wake(conn, team_id=team.id, now=now)
    return found
