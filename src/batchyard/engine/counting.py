"""Counts what a flush of the journal did: for the brake, the charts and the overview; pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from batchyard.store import tallies
from batchyard.store.items import Settled, Settlement
from batchyard.store.tallies import LONGEST_REASON, Tally

Judged = Mapping[UUID, tuple[Settlement, bool]]
"""Attempts that ended, by their items, and whether they went wrong."""

Ending = tuple[Settled, Settlement, bool]
"""An attempt whose end was written, and whether it went wrong."""


def pair_up(judged: Judged, settled: Sequence[Settled]) -> Sequence[Ending]:
    """Return the attempts whose end was written."""
    pairs = ((row, judged.get(row.id)) for row in settled)
    return [(row, *pair) for row, pair in pairs if pair is not None]


def count_outcomes(endings: Sequence[Ending]) -> dict[str, Tally]:
    """Count how attempts went, by batch, by team and by provider."""
    groups: dict[tuple[UUID, int, int | None, bool], list[float]] = {}
    for row, settlement, is_failure in endings:
        group = (row.batch_id, row.team_id, row.provider_id, is_failure)
        groups.setdefault(group, []).append(_lasted(settlement))
    counted: dict[str, Tally] = {}
    for (batch_id, team_id, provider_id, is_failure), lasted in groups.items():
        scopes = [tallies.batch_scope(batch_id), tallies.team_scope(team_id)]
        if provider_id is not None:
            scopes.append(tallies.provider_scope(provider_id))
        for scope in scopes:
            counted[scope] = counted.get(scope, Tally()).plus(
                len(lasted), is_failure=is_failure, seconds=sum(lasted)
            )
    return counted


def count_failures(endings: Sequence[Ending]) -> Mapping[tuple[int, str], int]:
    """Count why attempts failed, by team and reason: the error's code, else the status."""
    return Counter(
        (row.team_id, _reason(settlement)[:LONGEST_REASON])
        for row, settlement, is_failure in endings
        if is_failure
    )


def _reason(settlement: Settlement) -> str:
    """Return what went wrong; the item itself may be on its way to the next attempt."""
    status = settlement.get("entry", {}).get("status")
    return settlement.get("error_code") or str(status or settlement["status"])


def _lasted(settlement: Settlement) -> float:
    entry = settlement.get("entry")
    if entry is None:
        return 0.0
    sent_at, ended_at = entry.get("sent_at"), entry.get("ended_at")
    if not isinstance(sent_at, datetime) or not isinstance(ended_at, datetime):
        return 0.0
    return max(0.0, (ended_at - sent_at).total_seconds())
