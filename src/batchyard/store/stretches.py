"""Walks through what tables have of a person: in stretches, each short enough for a statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from batchyard.store.db import Connection
from batchyard.store.person_sources import Source

Place = Sequence[str]
"""Where a walk stands within an owner: the values of its source's `place`, as texts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """Rows of a source for one statement: all of some owners, or a part of one's."""

    source: Source
    owners: Sequence[UUID | int]
    after: Place | None = None
    until: Place | None = None
    """Up to this place and with it; None: to the end, wherever that is by then."""

    @property
    def within(self) -> str:
        """The condition on its rows.

        One owner is compared by itself, so that an index may be read backwards within it.
        """
        compared = "= %(owner)s" if len(self.owners) == 1 else "= ANY (%(owners)s)"
        told = [f"t.{self.source.owner} {compared}"]
        if self.after is not None:
            told.append(f"({self.source.order}) > ({self._bound('after')})")
        if self.until is not None:
            upto = f"({self.source.order}) <= ({self._bound('until')})"
            if self.after is None and self.source.has_null_places:
                upto = f"({upto} OR {self.source.order} IS NULL)"
            told.append(upto)
        return " AND ".join(told)

    @property
    def values(self) -> dict[str, object]:
        """What its condition compares with."""
        return {
            "owner": self.owners[0],
            "owners": list(self.owners),
            "after": self.after,
            "until": self.until,
        }

    def _bound(self, name: str) -> str:
        return ", ".join(
            f"(%({name})s::text[])[{n}]::{type_}"
            for n, type_ in enumerate(self.source.place.values(), start=1)
        )


# Along an index: no text is read for it.
FIND_LAST = """
SELECT t.{owner}, ARRAY[{place}]
  FROM {table} AS t
 WHERE {within}
 ORDER BY t.{owner}, {order}
OFFSET %(others)s LIMIT 1
"""


def last_statement(stretch: Stretch) -> str:
    """Return what finds the owner and the place of the row that has so many others before it."""
    source = stretch.source
    return FIND_LAST.format(
        owner=source.owner,
        place=", ".join(f"t.{name}::text" for name in source.place),
        table=source.table,
        within=stretch.within,
        order=source.order,
    )


async def find_next(
    conn: Connection,
    source: Source,
    *,
    owners: Sequence[UUID | int],
    after: Place | None,
    limit: int,
) -> Stretch:
    """Return the next stretch: behind `after` in the first of the owners, or from its beginning.

    As many of the owners as have `limit` rows together, or so many rows of the first.
    """
    rest = Stretch(source=source, owners=owners if after is None else owners[:1], after=after)
    values = rest.values | {"others": limit - 1}
    cursor = await conn.execute(last_statement(rest).encode(), values, prepare=False)
    row = await cursor.fetchone()
    if row is None:
        return rest
    owner, place = row
    whole = [str(one) for one in rest.owners].index(str(owner))
    if whole:
        return Stretch(source=source, owners=rest.owners[:whole])
    # What has no place is behind all others that its owner has.
    until = place if isinstance(place, list) and None not in place else None
    return Stretch(source=source, owners=rest.owners[:1], after=after, until=until)
