"""Requests that carry a key are done once: their answer commits with what they did."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from batchyard.clock import Clock
from batchyard.errors import BatchyardError
from batchyard.models import Team
from batchyard.operations.retention import DEFAULT_DAYS
from batchyard.operations.transactions import Joined, one_transaction
from batchyard.store import idempotency
from batchyard.store.db import TRANSIENT, Connection, Database

KEY_PATTERN = r"^[A-Za-z0-9._-]{16,128}$"
REMEMBERED_DAYS = DEFAULT_DAYS["idempotency_days"]
"""How long a key is remembered, with its answer, of a team that has set nothing else."""

HOLD = timedelta(seconds=60)
"""How long a key is believed to be in use by somebody who shows no life."""

SIGN_OF_LIFE_SECONDS = 20
RETRY_AFTER_SECONDS = 1

_KEY = re.compile(KEY_PATTERN[1:-1], re.ASCII)


class KeyMalformed(BatchyardError):
    """Idempotency-Key must be 16 to 128 letters, digits, dots, dashes or underscores."""


class KeyTaken(BatchyardError):
    """This Idempotency-Key was used for another request."""


class KeyBusy(BatchyardError):
    """The first request with this Idempotency-Key is still running."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """An answer as a client gets it."""

    status: int
    body: bytes
    content_type: str | None
    language: str | None = None
    """Of its text, where the door has several."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What else of it the door says again."""
    is_replayed: bool = False


Perform = Callable[[Joined], Awaitable[Reply]]
Tell = Callable[[Exception], Reply | None]
"""Makes an answer of an error that the same request would meet again; None of any other."""


def check_key(text: str) -> str:
    """Return a key that can be used; raise `KeyMalformed`."""
    if not _KEY.fullmatch(text):
        raise KeyMalformed
    return text


def fingerprint(*parts: bytes) -> bytes:
    """Return what tells one request from another: method, path, body."""
    return combine(hashlib.sha256(part).digest() for part in parts)


def combine(digests: Iterable[bytes]) -> bytes:
    """Return one fingerprint of several digests, in their order."""
    whole = hashlib.sha256()
    for digest in digests:
        whole.update(digest)
    return whole.digest()


async def find_answer(db: Database, *, team: Team, key: str, request: bytes) -> Reply | None:
    """Return the answer that a request with this key got before; `request` is its fingerprint.

    For what takes long to check, outside of any transaction, before `answer_once`; it does not
    keep the key from anybody. Raises `KeyTaken` and `KeyBusy`.
    """
    async with db.pool.connection() as conn:
        kept = await _read(conn, team=team, key=key, request=request, now=db.clock())
    return None if kept is None else replay(kept, request=request)


async def answer_once(
    db: Database, *, team: Team, key: str, request: bytes, perform: Perform, tell: Tell
) -> Reply:
    """Perform a request, or give the answer it got before; `request` is its fingerprint.

    Raises `KeyTaken`, `KeyBusy`, and what `perform` raises and `tell` makes no answer of: that is
    not remembered.
    """
    async with one_transaction(db) as work:
        if kept := await _find(
            work.connection, team=team, key=key, request=request, now=db.clock()
        ):
            return replay(kept, request=request)
        try:
            # A savepoint, so that nothing stays of a request that is refused half-way.
            async with work.transaction():
                reply = await perform(work)
        except Exception as error:
            told = tell(error)
            if told is None:
                raise
            reply = told
        await idempotency.insert_answer(
            work.connection,
            team_id=team.id,
            key=key,
            fingerprint=request,
            status=reply.status,
            content_type=reply.content_type,
            language=reply.language,
            headers=reply.headers,
            body=reply.body,
            now=db.clock(),
        )
    return reply


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """The answer of an earlier request with the same key."""

    fingerprint: bytes
    reply: Reply


def replay(kept: Kept, *, request: bytes) -> Reply:
    """Return the answer of the same request; raise `KeyTaken` for another one."""
    if kept.fingerprint != request:
        raise KeyTaken
    return kept.reply


@dataclass(frozen=True, kw_only=True, slots=True)
class Reservation:
    """A key held for work that takes longer than a transaction, such as an upload."""

    team_id: int
    key: str
    holder: UUID
    began_at: datetime
    """Of the first try, where this is another one of the same request."""
    done: int
    """Items that earlier tries did."""
    clock: Clock

    async def advance(self, conn: Connection, done: int) -> None:
        """Write in the transaction of a slice how much is done. Raises `KeyBusy` as `complete`."""
        if not await idempotency.advance(
            conn, team_id=self.team_id, key=self.key, holder=self.holder, done=done
        ):
            raise KeyBusy

    async def complete(self, conn: Connection, *, request: bytes, reply: Reply) -> None:
        """Write the answer in the transaction that does the last of the work.

        Raises `KeyBusy` when the holder was silent for so long that another took the key.
        """
        is_held = await idempotency.complete(
            conn,
            team_id=self.team_id,
            key=self.key,
            holder=self.holder,
            fingerprint=request,
            status=reply.status,
            content_type=reply.content_type,
            language=reply.language,
            headers=reply.headers,
            body=reply.body,
            now=self.clock(),
        )
        if not is_held:
            raise KeyBusy


@asynccontextmanager
async def reserved(
    db: Database,
    *,
    team: Team,
    key: str,
    request: bytes | None = None,
    is_for_one: bool = False,
) -> AsyncIterator[Reservation | Kept]:
    """Hold a key while the block runs, or lend the answer it has already.

    A block that refuses, or ends with an error, gives the key back. Where `request`, the
    fingerprint, is known before, the same request goes on after an error where it was broken off;
    after a refusal too where some was done before.
    Raises `KeyBusy`; where the key `is_for_one` request even when that was broken off and may have
    done everything, `KeyTaken` too.
    """
    holder = uuid4()
    async with db.transaction() as conn:
        now = db.clock()
        kept = await _find(
            conn, team=team, key=key, request=request if is_for_one else None, now=now
        )
        held = (
            await idempotency.reserve(
                conn,
                team_id=team.id,
                key=key,
                fingerprint=request,
                holder=holder,
                held_until=now + HOLD,
                is_for_one=is_for_one,
                default_days=REMEMBERED_DAYS,
                now=now,
            )
            if kept is None
            else None
        )
    if kept is not None:
        yield kept
        return
    if held is None:
        raise KeyTaken
    reservation = Reservation(
        team_id=team.id,
        key=key,
        holder=holder,
        began_at=held.began_at,
        done=held.done,
        clock=db.clock,
    )
    living = asyncio.create_task(_show_life(db, reservation))
    try:
        yield reservation
    except BaseException as error:
        await _give_back(db, reservation, forgets=isinstance(error, BatchyardError))
        raise
    finally:
        living.cancel()


async def _find(
    conn: Connection, *, team: Team, key: str, request: bytes | None, now: datetime
) -> Kept | None:
    if not await idempotency.lock(conn, team_id=team.id, key=key):
        raise KeyBusy
    return await _read(conn, team=team, key=key, request=request, now=now)


async def _read(
    conn: Connection, *, team: Team, key: str, request: bytes | None, now: datetime
) -> Kept | None:
    """Return the answer of a key; None where there is none and `request` may have the key.

    One that broke off may have done everything, so its key is for no other; where `request` is not
    given, any may take it over.
    """
    record = await idempotency.find(
        conn, team_id=team.id, key=key, default_days=REMEMBERED_DAYS, now=now
    )
    if record is None:
        return None
    if record.held_until is not None and record.held_until <= now:
        if request is not None and record.fingerprint not in (None, request):
            raise KeyTaken
        return None
    if record.fingerprint is None or record.status is None or record.body is None:
        raise KeyBusy
    return Kept(
        fingerprint=record.fingerprint,
        reply=Reply(
            status=record.status,
            body=record.body,
            content_type=record.content_type,
            language=record.language,
            headers=record.headers or {},
            is_replayed=True,
        ),
    )


async def _give_back(db: Database, reservation: Reservation, *, forgets: bool) -> None:
    """Let a key be used again; nothing is kept of what was refused and has done nothing."""
    with suppress(*TRANSIENT):
        async with db.transaction() as conn:
            is_forgotten = forgets and await idempotency.release(
                conn,
                team_id=reservation.team_id,
                key=reservation.key,
                holder=reservation.holder,
            )
            if not is_forgotten:
                await _hold(conn, reservation, until=db.clock())


async def _hold(conn: Connection, reservation: Reservation, *, until: datetime) -> None:
    await idempotency.extend(
        conn,
        team_id=reservation.team_id,
        key=reservation.key,
        holder=reservation.holder,
        held_until=until,
    )


async def _show_life(db: Database, reservation: Reservation) -> None:
    while True:
        await asyncio.sleep(SIGN_OF_LIFE_SECONDS)
        with suppress(*TRANSIENT):
            async with db.transaction() as conn:
                await _hold(conn, reservation, until=db.clock() + HOLD)
