"""Joins what several wrote about one item at a time, so that none undoes what another learned."""

from batchyard.models import JsonObject
from batchyard.providers.call_endings import MARK
from batchyard.store.items import Settlement

ABSENT = object()

ON_THE_WAY = frozenset({MARK, "documents"})
"""What is kept with an item until its end: then documents are stored, not named."""


def merge(stored: JsonObject, *, known: JsonObject, told: JsonObject, wins: bool) -> JsonObject:
    """Apply to a `stored` result what `told` changed of what was `known` when it was made.

    Marks and other parts are joined one by one. `wins` says who is right where both changed the
    same: news of the other side goes before what somebody found who asked earlier.
    """
    merged = dict(stored)
    for name in {**known, **told}:
        before, after = known.get(name, ABSENT), told.get(name, ABSENT)
        now = stored.get(name, ABSENT)
        if after == before:
            continue
        if isinstance(after, dict) and isinstance(now, dict):
            parts = before if isinstance(before, dict) else {}
            merged[name] = merge(now, known=parts, told=after, wins=wins)
        elif wins or now == before:
            merged[name] = after
    return {name: value for name, value in merged.items() if value is not ABSENT}


def join_result(settlement: Settlement, *, known: JsonObject, stored: JsonObject) -> Settlement:
    """Return news with its result joined with the `stored` one; what ended keeps its outcome."""
    is_end = "entry" in settlement
    result = merge(
        stored, known=known, told=settlement["result"], wins=is_end or "lease" not in settlement
    )
    if not is_end:
        return {**settlement, "result": result}
    result, entry = without_marks(result), settlement["entry"]
    if "result" in entry:
        entry = {**entry, "result": result}
    return {**settlement, "result": result, "entry": entry}


def without_marks(result: JsonObject) -> JsonObject:
    """Return what is left of a result at the end of its attempt."""
    return {name: value for name, value in result.items() if name not in ON_THE_WAY}
