"""Whom a team does not call, and when: its do-not-contact list and its rules."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import available_timezones

from phonenumbers import SUPPORTED_REGIONS

from batchyard.contact_rules import MAX_ATTEMPTS, TeamRules
from batchyard.errors import InvalidRequest, NotFound, StoreError
from batchyard.intake.phones import read_number
from batchyard.intake.verdicts import REFUSALS
from batchyard.models import Team
from batchyard.operations.audit import Actor, note
from batchyard.operations.transactions import Transactions, one_transaction
from batchyard.store import attempts, contacts, queue, windows
from batchyard.store.contacts import Entry
from batchyard.store.db import Connection, Database
from batchyard.windows import EVERY_DAY

MAX_REASON_LENGTH = 500
MAX_HOLIDAYS = 1000
PAGE = 1000

Seal = Callable[[Connection, TeamRules, TeamRules], Awaitable[None]]
"""Is given the rules as they were and as they are now, in the transaction that changes them."""

BLOCK = 5000
"""Items moved in one transaction."""

CLOCKS_APART = timedelta(seconds=1)
"""By less the clocks of two machines differ, each corrected by PostgreSQL's."""

RECALLED = timedelta(days=8)
"""Attempts further back count for no limit, wherever the recipient's day begins."""


async def add_do_not_contact(
    db: Transactions,
    *,
    team: Team,
    number: str,
    reason: str | None = None,
    until: datetime | None = None,
) -> Entry:
    """Never contact a number again, or not before `until`; replaces what was said before.

    What the recipient asked for stays for ever, until `remove_do_not_contact`. Effective for every
    item not sent yet. Raises `InvalidRequest`.
    """
    now = db.clock()
    if until is not None and until <= now:
        raise InvalidRequest("The time until which a number is not contacted has passed.")
    if reason is not None and (len(reason) > MAX_REASON_LENGTH or "\0" in reason):
        raise InvalidRequest(f"A reason has at most {MAX_REASON_LENGTH} characters.")
    async with db.transaction() as conn:
        entry = await contacts.add_entry(
            conn,
            team_id=team.id,
            number=_e164(number),
            reason=reason or None,
            until=until,
            now=now,
        )
    if entry is None:
        raise StoreError("The number was written and is not there.")
    return entry


async def remove_do_not_contact(db: Transactions, *, team: Team, number: str) -> None:
    """Allow a number again. Raises `NotFound` when it was not on the list."""
    async with db.transaction() as conn:
        if not await contacts.remove_entry(conn, team_id=team.id, number=_e164(number)):
            raise NotFound("The number is not on the do-not-contact list.")


async def block_number(
    db: Transactions,
    *,
    team: Team,
    actor: Actor,
    number: str,
    reason: str | None = None,
    until: datetime | None = None,
) -> Entry:
    """Do as `add_do_not_contact`; the audit log tells whether the number was listed before.

    Not the number: those of people stay out of a log that forgets nothing.
    """
    async with one_transaction(db) as work:
        conn = work.connection
        known = await contacts.read_entry(conn, team_id=team.id, number=_e164(number))
        entry = await add_do_not_contact(work, team=team, number=number, reason=reason, until=until)
        await note(
            conn,
            team=team,
            actor=actor,
            action="contact.block",
            before=_told(known),
            after=_told(entry),
            now=db.clock(),
        )
    return entry


async def allow_number(db: Transactions, *, team: Team, actor: Actor, number: str) -> None:
    """Do as `remove_do_not_contact`, with its trace in the audit log."""
    async with one_transaction(db) as work:
        conn = work.connection
        known = await contacts.read_entry(conn, team_id=team.id, number=_e164(number))
        await remove_do_not_contact(work, team=team, number=number)
        await note(
            conn,
            team=team,
            actor=actor,
            action="contact.allow",
            before=_told(known),
            after=_told(None),
            now=db.clock(),
        )


def _told(entry: Entry | None) -> dict[str, object]:
    if entry is None:
        return {"is_listed": False}
    return {"is_listed": True, "until": entry.until and entry.until.isoformat()}


async def list_do_not_contact(
    db: Database, *, team: Team, after: str = "", limit: int = PAGE
) -> list[Entry]:
    """List numbers of the do-not-contact list in their order, those behind `after`."""
    async with db.pool.connection() as conn:
        return await contacts.list_entries(conn, team_id=team.id, after=after, limit=limit)


async def read_rules(db: Database, *, team: Team) -> TeamRules:
    """Return a team's rules."""
    async with db.pool.connection() as conn:
        return await contacts.read_rules(conn, team_id=team.id)


async def set_rules(
    db: Database,
    *,
    team: Team,
    change: Callable[[TeamRules], TeamRules],
    seal: Seal | None = None,
) -> TeamRules:
    """Change a team's rules; effective at its next admission. Raises `InvalidRequest`.

    `change` makes the new rules of the ones that hold; `seal` is given both, to do more in the
    transaction that puts the new ones in place. Attempts made before they were limited
    are counted too, and items that wait for a window which is another now are looked at anew.
    """
    began_at = db.clock()
    async with db.pool.connection() as conn:
        old = await contacts.read_rules(conn, team_id=team.id)
    # Before the limit holds: until all is counted it would let numbers through, and what a crash
    # leaves uncounted would stay so.
    if _checked(change(old)).limits_attempts and not old.limits_attempts:
        await _recall_attempts(db, team, since=began_at - RECALLED)
    async with db.transaction() as conn:
        old = await contacts.lock_rules(conn, team_id=team.id)
        new = _checked(change(old))
        await contacts.write_rules(conn, team_id=team.id, rules=new, now=db.clock())
        if seal is not None:
            await seal(conn, old, new)
    if new.limits_attempts and not old.limits_attempts:
        await _recall_attempts(db, team, since=began_at)  # What was sent meanwhile.
    if _windows_of(new) != _windows_of(old):
        await reconsider_windows(db, team=team)
    return new


def facts_of(rules: TeamRules) -> dict[str, object]:
    """Return what a team has set, for the audit log."""
    return {
        "attempts_per_day": rules.attempts_per_day,
        "attempts_per_week": rules.attempts_per_week,
        "countries": None if rules.countries is None else sorted(rules.countries),
        "refuses_premium": rules.refuses_premium,
        "days": sorted(rules.days),
        "holidays": [day.isoformat() for day in sorted(rules.holidays)],
        "fallback_zone": rules.fallback_zone,
    }


async def reconsider_windows(
    db: Transactions, *, team: Team, agent_id: UUID | None = None, batch_id: UUID | None = None
) -> int:
    """Look anew at items that wait for a window: of a team, an agent or a batch; return how many.

    To be called when a window has changed. Those that are closed still are put off again, and left
    so.
    """
    total, changed_before = 0, db.clock() + CLOCKS_APART
    while True:
        async with db.transaction() as conn:
            now = db.clock()
            moved = await windows.reconsider(
                conn,
                team_id=team.id,
                agent_id=agent_id,
                batch_id=batch_id,
                put_off_before=changed_before,
                limit=BLOCK,
                now=now,
            )
            if moved:
                await queue.wake(conn, team_id=team.id, now=now)
        total += moved
        if moved < BLOCK:
            return total


async def forget_attempts(db: Database) -> None:
    """Delete attempts that no limit counts any more."""
    before = db.clock() - RECALLED
    while True:
        async with db.transaction() as conn:
            if await attempts.forget(conn, before=before, limit=BLOCK) < BLOCK:
                return


async def _recall_attempts(db: Database, team: Team, *, since: datetime) -> None:
    async with db.pool.connection() as conn:
        batch_ids = await attempts.list_batches(conn, team_id=team.id, since=since)
    for batch_id in batch_ids:
        last: UUID | None = None
        while True:
            async with db.transaction() as conn:
                last = await attempts.recall(
                    conn, batch_id=batch_id, after=last, since=since, limit=BLOCK
                )
            if last is None:
                break


def _windows_of(rules: TeamRules) -> tuple[frozenset[int], frozenset[date], str | None]:
    return rules.days, rules.holidays, rules.fallback_zone


def _checked(rules: TeamRules) -> TeamRules:
    """Return the rules in their plain form; raise `InvalidRequest` naming each fault."""
    faults: dict[str, list[str]] = {}
    if rules.fallback_zone is not None and rules.fallback_zone not in available_timezones():
        faults["fallback_zone"] = [
            f"{rules.fallback_zone!r} is no time zone such as Europe/Copenhagen."
        ]
    if not rules.days or not rules.days <= EVERY_DAY:
        faults["days"] = ["Calls need at least one day of the week; days are 1 (Monday) to 7."]
    if len(rules.holidays) > MAX_HOLIDAYS:
        faults["holidays"] = [f"At most {MAX_HOLIDAYS} holidays can be kept."]
    for name in ("attempts_per_day", "attempts_per_week"):
        limit = getattr(rules, name)
        if limit is not None and not 0 < limit <= MAX_ATTEMPTS:
            faults[name] = [f"A limit of attempts is 1 to {MAX_ATTEMPTS}, or off."]
    countries = _upper(rules.countries)
    if countries is not None and (unknown := sorted(countries - SUPPORTED_REGIONS)):
        faults["countries"] = [f"No country codes such as DK: {', '.join(unknown)}."]
    if faults:
        sentences = " ".join(sentence for told in faults.values() for sentence in told)
        raise InvalidRequest(sentences, faults=faults)
    return replace(rules, countries=countries)


def _upper(countries: Collection[str] | None) -> frozenset[str] | None:
    return None if countries is None else frozenset(code.strip().upper() for code in countries)


def _e164(text: str) -> str:
    number = read_number(text)
    if isinstance(number, str):
        raise InvalidRequest(REFUSALS[number].text, code=number)
    return number.e164
