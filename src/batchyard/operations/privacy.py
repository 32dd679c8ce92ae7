"""One person: what is stored about them, and its erasure across all batches."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import phonenumbers

from batchyard.errors import InvalidRequest
from batchyard.models import Team
from batchyard.operations.audit import Actor, audited
from batchyard.store import privacy, stretches
from batchyard.store.db import Database
from batchyard.store.person_sources import (
    DO_NOT_CONTACT,
    LINES,
    SOURCES,
    STAGED_ROWS,
    Owner,
    Source,
)
from batchyard.store.privacy import Person
from batchyard.store.stretches import Place, Stretch

SLICE = 500
"""Items that one transaction takes out, and that one statement looks for the names of; batches
that are looked in together."""
SEARCHED = 2000
"""Rows that one statement looks through for a person, however many there are: a part of a second,
in long rows."""

EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
BEFORE_ADDRESS = (
    r"(^|[^A-Za-z0-9._%+\\-]|\\(?![bfnrtu])"
    r"|(^|[^\\])(\\\\)*\\([bfnrt\\]|u00[01][0-9a-f]))"
)
"""What an address begins behind: what is no part of one, or an escape.

In the text of JSON a line break is a backslash and a letter, and a backslash is two of them. So a
letter belongs to the escape before it where the number of backslashes is odd, and else to the
address.
"""
BEHIND_ADDRESS = r"(?!(\.|-*)[A-Za-z0-9])"
"""A dot ends a sentence, or the address goes on: `maria@example.com.br` is somebody else's."""
BETWEEN_DIGITS = (
    r"([\s()\[\]./\u0085\u00a0\u1680\u2000-\u2015\u2028-\u202f\u205f\u2212\u3000\ufeff-]"
    r"|\\[tnrf]){0,4}"
)
"""Whatever intake forgives between the digits of a number, and dots and slashes.

Written as PostgreSQL reads it. In the text of JSON a tab is a backslash and a letter.
"""
A_DATE = "[12][0-9]{3}-[01][0-9]-[0-3][0-9](?![0-9])"
"""As times and names of files have it: no number, although it has the digits of one."""
SHORTEST_NATIONAL = 7
"""Shorter numbers are looked for in international format only: as digits they mean anything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure:
    """What an erasure did."""

    items: int
    pending: int
    """Items in flight, or whose booking is being answered; they are erased when they have ended, or
    when nobody knows their outcome, without being asked again."""
    documents: int
    others: Mapping[str, int]


def find_person(team: Team, *, number: str | None, email: str | None) -> Person:
    """Return how to look for a person; raise `InvalidRequest` unless told one of both."""
    if (number is None) == (email is None):
        raise InvalidRequest("Name a person by a number or an e-mail address, one of both.")
    if email is not None:
        if not EMAIL.fullmatch(email):
            raise InvalidRequest("This is no e-mail address.", faults={"email": ["no address"]})
        pattern = BEFORE_ADDRESS + re.escape(email) + BEHIND_ADDRESS
        return Person(team_id=team.id, pattern=pattern, certain=pattern, number=None)
    try:
        parsed = phonenumbers.parse(number or "", None)
    except phonenumbers.NumberParseException as error:
        raise InvalidRequest(
            "A number is written in international format, as +4512345678.",
            faults={"number": ["not international"]},
        ) from error
    national = phonenumbers.national_significant_number(parsed)
    certain = BETWEEN_DIGITS.join(f"{parsed.country_code}{national}")
    writings = [certain]
    if len(national) >= SHORTEST_NATIONAL:
        writings.append(f"(?!{A_DATE}){BETWEEN_DIGITS.join(national)}")
    return Person(
        team_id=team.id,
        pattern=_alone("|".join(writings)),
        certain=_alone(certain),
        number=phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164),
    )


def _alone(digits: str) -> str:
    return rf"(?<![0-9])0{{0,2}}({digits})(?![0-9])"


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
        async for stretch in _walk(db, person, source, item_ids):
            rows: dict[str, str] = {}
            for some in _named(source, item_ids):
                async with db.pool.connection() as conn:
                    rows |= await privacy.read(conn, person, stretch, item_ids=some)
            yield source.name, list(rows.values())


async def erase_person(
    db: Database,
    *,
    team: Team,
    actor: Actor,
    number: str | None,
    email: str | None,
    keep_do_not_contact: bool = False,
) -> Erasure:
    """Erase a person in short transactions; safe to repeat, and to be repeated after a crash.

    1. Find the items, cancel those not yet sent, and note all: none of them is sent again. Before
       that, take out the rows that are to correct some.
    2. Take out of every other place whatever is about the person, or names those items. They are
       as they were until then, so that whoever begins again finds by them what is left.
    3. Take out the items, and what was written about them meanwhile.
    4. Look through the remembered answers once more: a request may have been answered meanwhile.
    5. Take the number off the do-not-contact list, unless that is kept.
    6. Write the entry in the audit log.
    """
    person = find_person(team, number=number, email=email)
    others = Counter({source.name: 0 for source in SOURCES if source.erasing is not None})
    others[STAGED_ROWS.name] += await _erase_source(db, person, STAGED_ROWS, [])
    item_ids: list[UUID] = []
    out: list[UUID] = []
    async for found in _find_items(db, person):
        item_ids += found
        out += await _note(db, found)
    for source in SOURCES:
        if source.about is None or source is DO_NOT_CONTACT:
            continue
        # What was claimed, or about to be tried again, when it was noted may be ready by now.
        out = await _note(db, out)
        others[source.name] += await _erase_source(db, person, source, item_ids)
    items = pending = 0
    for some in _slices(item_ids):
        async with db.transaction() as conn:
            done = await privacy.erase_items(conn, some, now=db.clock())
        items += len(done.erased)
        pending += len(done.postponed)
        others.update(done.others)
    for source in SOURCES:
        if source.table == "idempotency":
            others[source.name] += await _erase_source(db, person, source, item_ids)
    if not keep_do_not_contact:
        others[DO_NOT_CONTACT.name] += await _erase_source(db, person, DO_NOT_CONTACT, item_ids)
    after: dict[str, object] = {"items": items, "pending": pending}
    async with audited(db, team=team, actor=actor, action="privacy.erase", after=after):
        pass
    documents = others.pop("documents")
    return Erasure(items=items, pending=pending, documents=documents, others=others)


async def _note(db: Database, item_ids: Sequence[UUID]) -> list[UUID]:
    """Let none of these items be sent again; return those that are out, or may be."""
    out: list[UUID] = []
    for some in _slices(item_ids):
        async with db.transaction() as conn:
            out += await privacy.note_items(conn, some, now=db.clock())
    return out


async def _erase_source(
    db: Database, person: Person, source: Source, item_ids: Sequence[UUID]
) -> int:
    """Take a person, and what names these items, out of a place; return of how many rows."""
    erased = 0
    async for stretch in _walk(db, person, source, item_ids):
        for some in _named(source, item_ids):
            async with db.transaction() as conn:
                erased += await privacy.erase(conn, person, stretch, item_ids=some, now=db.clock())
    return erased


async def _find_items(db: Database, person: Person) -> AsyncIterator[Sequence[UUID]]:
    """Yield a person's items as they are found, each once; one may join another batch meanwhile."""
    known: set[UUID] = set()
    async for stretch in _walk(db, person, LINES, []):
        async with db.pool.connection() as conn:
            found = await privacy.read(conn, person, stretch, item_ids=[])
        new = [item_id for item_id in map(UUID, found.values()) if item_id not in known]
        known.update(new)
        yield new


async def _walk(
    db: Database, person: Person, source: Source, item_ids: Sequence[UUID]
) -> AsyncIterator[Stretch]:
    """Go through all rows that a source has of the person's team, or of these items.

    What comes meanwhile is met only where the walk has not been yet. So whoever's data still arrive
    is erased again when they have come. Rows that join a batch leave another for it: those others
    are gone through first.
    """
    async for owners in _list_owners(db, person, source, item_ids):
        left = owners
        after: Place | None = None
        while left:
            async with db.pool.connection() as conn:
                stretch = await stretches.find_next(
                    conn, source, owners=left, after=after, limit=SEARCHED
                )
            yield stretch
            after = stretch.until
            if after is None:
                left = left[len(stretch.owners) :]


async def _list_owners(
    db: Database, person: Person, source: Source, item_ids: Sequence[UUID]
) -> AsyncIterator[Sequence[UUID | int]]:
    """Yield whose rows a source may have, some at a time."""
    if source.owner is Owner.TEAM:
        yield [person.team_id]
        return
    if source.owner is Owner.ITEM:
        for some in _slices(item_ids):
            yield some
        return
    for joining in (True, False):
        batch_ids: Sequence[UUID] = [UUID(int=0)]
        while batch_ids:
            async with db.pool.connection() as conn:
                batch_ids = owners = await privacy.list_batches(
                    conn, team_id=person.team_id, joining=joining, after=batch_ids[-1], limit=SLICE
                )
                if source.owner is Owner.UPLOAD:
                    owners = await privacy.list_uploads(conn, batch_ids=batch_ids)
            yield owners


def _slices(item_ids: Sequence[UUID]) -> Sequence[Sequence[UUID]]:
    return [item_ids[start : start + SLICE] for start in range(0, len(item_ids), SLICE)]


def _named(source: Source, item_ids: Sequence[UUID]) -> Sequence[Sequence[UUID]]:
    """Return whose names one statement after the other looks for; one looks for nobody's else."""
    return [[]] if source.about is None else _slices(item_ids) or [[]]


async def erase_pending(db: Database) -> None:
    """Erase items that were in flight when their person was erased and have left it since."""
    while True:
        now = db.clock()
        async with db.transaction() as conn:
            ids = await privacy.find_pending(conn, limit=SLICE, now=now)
            if not ids:
                return
            await privacy.erase_items(conn, ids, now=now)
