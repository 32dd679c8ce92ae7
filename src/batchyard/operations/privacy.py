"""One person: what is stored about them, and its erasure across all batches."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import phonenumbers

from batchyard.errors import InvalidRequest
from batchyard.models import Team
from batchyard.operations.audit import Actor, audited
from batchyard.store import privacy
from batchyard.store.db import Database
from batchyard.store.person_sources import SOURCES
from batchyard.store.privacy import FIRST, Person, Place

SLICE = 500
SEARCHED_BATCHES, SEARCHED_ITEMS = 300, 20_000
"""In how many batches, and items, a person is looked for at once: seconds, in long rows."""

EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
BETWEEN_DIGITS = (
    r"([\s()\[\]./\u0085\u00a0\u1680\u2000-\u2015\u2028-\u202f\u205f\u2212\u3000\ufeff-]"
    r"|\\[tnrf]){0,4}"
)
"""Whatever intake forgives between the digits of a number, and dots and slashes.

Written as PostgreSQL reads it. In the text of JSON a tab is a backslash and a letter.
"""
SHORTEST_NATIONAL = 7
"""Shorter numbers are looked for in international format only: as digits they mean anything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure:
    """What an erasure did."""

    items: int
    pending: int
    """Items in flight; they are erased when they have ended, or when nobody knows their outcome,
    without being asked again."""
    documents: int
    others: Mapping[str, int]


def find_person(team: Team, *, number: str | None, email: str | None) -> Person:
    """Return how to look for a person; raise `InvalidRequest` unless told one of both."""
    if (number is None) == (email is None):
        raise InvalidRequest("Name a person by a number or an e-mail address, one of both.")
    if email is not None:
        if not EMAIL.fullmatch(email):
            raise InvalidRequest("This is no e-mail address.", faults={"email": ["no address"]})
        pattern = rf"(?<![A-Za-z0-9._%+-]){re.escape(email)}(?![A-Za-z0-9-])"
        return Person(team_id=team.id, pattern=pattern, number=None)
    try:
        parsed = phonenumbers.parse(number or "", None)
    except phonenumbers.NumberParseException as error:
        raise InvalidRequest(
            "A number is written in international format, as +4512345678.",
            faults={"number": ["not international"]},
        ) from error
    national = phonenumbers.national_significant_number(parsed)
    writings = [f"{parsed.country_code}{national}"]
    if len(national) >= SHORTEST_NATIONAL:
        writings.append(national)
    spaced = "|".join(BETWEEN_DIGITS.join(writing) for writing in writings)
    return Person(
        team_id=team.id,
        pattern=rf"(?<![0-9])0{{0,2}}({spaced})(?![0-9])",
        number=phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164),
    )


Page = tuple[str, Sequence[str]]
"""What kind of rows, and some of them as JSON."""


async def export_person(
    db: Database, *, team: Team, actor: Actor, number: str | None, email: str | None
) -> AsyncIterator[Page]:
    """Return all that is stored about a person, page by page; each kind has one at least.

    The audit log notes that it was looked at. Raises `InvalidRequest` as `find_person`.
    """
    person = find_person(team, number=number, email=email)
    async with audited(db, team=team, actor=actor, action="privacy.export"):
        pass
    return _export(db, person)


async def _export(db: Database, person: Person) -> AsyncIterator[Page]:
    """Read in short transactions, however much it is and however slowly it is taken."""
    # Something at once: whoever waits for the items hears that they are looked for.
    yield SOURCES[0].name, []
    item_ids = [item_id async for found in _find_items(db, person) for item_id in found]
    for source in SOURCES:
        yield source.name, []
        seen: set[str] = set()
        for start in range(0, max(len(item_ids), 1), SLICE):
            after = ""
            while True:
                async with db.pool.connection() as conn:
                    rows = await privacy.read_page(
                        conn,
                        person,
                        source,
                        item_ids=item_ids[start : start + SLICE],
                        after=after,
                        limit=SLICE,
                    )
                # What names several items is met with each.
                yield source.name, [shown for key, shown in rows if key not in seen]
                if len(item_ids) > SLICE:
                    seen.update(key for key, _ in rows)
                if len(rows) < SLICE:
                    break
                after = rows[-1][0]


async def _find_items(db: Database, person: Person) -> AsyncIterator[Sequence[UUID]]:
    """Yield a person's items as they are found: small batches together, large ones in slices."""
    async with db.pool.connection() as conn:
        batches = await privacy.list_batches(conn, team_id=person.team_id)
    for batch_ids in _put_together(one for one in batches if one[1] <= SEARCHED_ITEMS):
        async with db.pool.connection() as conn:
            found = await privacy.find_items(conn, person, batch_ids=batch_ids)
        yield found
    for batch_id in (one for one, n in batches if n > SEARCHED_ITEMS):
        place: Place | None = FIRST
        while place is not None:
            async with db.pool.connection() as conn:
                found, place = await privacy.find_in_slice(
                    conn, person, batch_id=batch_id, after=place, limit=SEARCHED_ITEMS
                )
            yield found


def _put_together(batches: Iterable[tuple[UUID, int]]) -> Iterator[list[UUID]]:
    """Put batches together, as far as a statement should go."""
    some: list[UUID] = []
    items = 0
    for batch_id, n in batches:
        if some and (len(some) == SEARCHED_BATCHES or items + n > SEARCHED_ITEMS):
            yield some
            some, items = [], 0
        some.append(batch_id)
        items += n
    if some:
        yield some


async def erase_person(
    db: Database,
    *,
    team: Team,
    actor: Actor,
    number: str | None,
    email: str | None,
    keep_do_not_contact: bool = False,
) -> Erasure:
    """Erase a person; safe to repeat, and to be repeated after a crash.

    1. As they are found, so many in a transaction: items, documents, deliveries.
    2. Everything else that fits, or names those items, so many of them at a time; with the last the
       entry in the audit log.
    """
    person = find_person(team, number=number, email=email)
    erased: list[UUID] = []
    pending = documents = 0
    async for found in _find_items(db, person):
        for start in range(0, len(found), SLICE):
            async with db.transaction() as conn:
                done = await privacy.erase_items(conn, found[start : start + SLICE], now=db.clock())
            erased += done.erased
            pending += len(done.postponed)
            documents += done.documents
    others: Counter[str] = Counter()
    for start in range(SLICE, len(erased), SLICE):
        async with db.transaction() as conn:
            others += Counter(
                await privacy.erase_elsewhere(
                    conn,
                    person,
                    also=erased[start : start + SLICE],
                    keep_do_not_contact=True,
                    now=db.clock(),
                )
            )
    after: dict[str, object] = {"items": len(erased), "pending": pending}
    async with audited(db, team=team, actor=actor, action="privacy.erase", after=after) as work:
        last = await privacy.erase_elsewhere(
            work.connection,
            person,
            also=erased[:SLICE],
            keep_do_not_contact=keep_do_not_contact,
            now=db.clock(),
        )
    told = {name: n + others[name] for name, n in last.items()}
    return Erasure(items=len(erased), pending=pending, documents=documents, others=told)


async def erase_pending(db: Database) -> None:
    """Erase items that were in flight when their person was erased and have left it since."""
    while True:
        async with db.transaction() as conn:
            ids = await privacy.find_pending(conn, limit=SLICE)
            if not ids:
                return
            await privacy.erase_items(conn, ids, now=db.clock())
