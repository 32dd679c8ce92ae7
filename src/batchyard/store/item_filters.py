"""What items are chosen by, in lists and in decisions on many of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from batchyard.lifecycle import STATUSES_BY_PHASE
from batchyard.store.db import Connection

CONDITIONS: Mapping[str, str] = {
    "statuses": "i.status = ANY (%(statuses)s)",
    "error_code": "d.error_code = %(error_code)s",
    "number": "d.number LIKE %(number)s",
    "reference": "d.reference LIKE %(reference)s",
    "words": """jsonb_to_tsvector('simple', d.payload, '["string", "numeric"]')
       @@ websearch_to_tsquery('simple', %(words)s)""",
}
"""By the fields of `ItemFilters`; `i` is `items`, `d` is `item_data`.

All have an index but words.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemFilters:
    """What is asked of items; None asks nothing."""

    statuses: Sequence[str] | None = None
    error_code: str | None = None
    number: str | None = None
    """Its beginning."""
    reference: str | None = None
    """Its beginning."""
    words: str | None = None
    """Words of the payload, as a web search takes them."""

    @property
    def asked(self) -> frozenset[str]:
        """The names of what is asked."""
        return frozenset(one.name for one in fields(self) if getattr(self, one.name) is not None)

    @property
    def values(self) -> dict[str, object]:
        """What the conditions compare with."""
        return {
            "statuses": None if self.statuses is None else list(self.statuses),
            "error_code": self.error_code,
            "number": _prefix(self.number),
            "reference": _prefix(self.reference),
            "words": self.words,
        }

    @property
    def where(self) -> str:
        """The conditions, each behind an AND."""
        told = join_conditions(CONDITIONS, self.values)
        if self.statuses is None:
            return told
        # The indexes that hold a status are of one phase each.
        phases = [
            f"'{phase}'"
            for phase, words in STATUSES_BY_PHASE.items()
            if not words.isdisjoint(self.statuses)
        ]
        return told + (f"\n   AND i.phase IN ({', '.join(phases)})" if phases else "\n   AND false")


NO_FILTERS = ItemFilters()


def join_conditions(conditions: Mapping[str, str], values: Mapping[str, object]) -> str:
    """Put together the conditions that have a value, and no others.

    A condition that allows for a missing value keeps the plan from every index.
    """
    return "".join(
        f"\n   AND {condition}"
        for name, condition in conditions.items()
        if values.get(name) is not None
    )


async def plan_and_fetch(
    conn: Connection, query: str, values: Mapping[str, object]
) -> list[tuple[object, ...]]:
    """Plan for these very values: a plan for any limit would sort, and render, the whole list."""
    cursor = await conn.execute(query.encode(), dict(values), prepare=False)
    return await cursor.fetchall()


def _prefix(text: str | None) -> str | None:
    """Write a LIKE pattern for what begins with this text."""
    if text is None:
        return None
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"{escaped}%"
