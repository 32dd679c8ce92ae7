"""The rules that nothing bypasses, checked when an item is about to be sent."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from batchyard.contact_rules import Block, TeamRules
from batchyard.intake.phones import read_number
from batchyard.store import attempts, contacts
from batchyard.store.attempts import Contact
from batchyard.store.db import Connection
from batchyard.store.items import ClaimedItem
from batchyard.store.windows import UNKNOWN_ZONES, ZoneSets
from batchyard.windows import day_start


def contact_of(
    item: ClaimedItem, *, team_id: int, zones: ZoneSets | None, now: datetime
) -> Contact | None:
    """Return what is checked about an item before it is sent; None for one without a number.

    `zones` are given where the team limits attempts.
    """
    if item.number is None:
        return None
    own = () if zones is None else zones.get(item.zone_set or UNKNOWN_ZONES, ())
    return Contact(
        item_id=item.id,
        attempt=item.attempt,
        team_id=team_id,
        number=item.number,
        day_at=None if zones is None else day_start(own, now),
        week_at=None if zones is None else day_start(own, now, days_back=6),
    )


async def screen(
    conn: Connection, chosen: Sequence[Contact], *, now: datetime
) -> dict[UUID, Block]:
    """Return which of these items must not be sent, and why.

    Attempts are counted until the end of the transaction; `attempts.add` those that are sent.
    """
    listed = await contacts.find_listed_items(conn, chosen, now=now)
    limited = [c for c in chosen if c.day_at is not None and c.item_id not in listed]
    reached = await attempts.lock_reached(conn, limited) if limited else set()
    return dict.fromkeys(reached, Block.ATTEMPTS_REACHED) | dict.fromkeys(
        listed, Block.DO_NOT_CONTACT
    )


async def judge_numbers(numbers: Mapping[UUID, str | None], rules: TeamRules) -> dict[UUID, Block]:
    """Return which items have numbers that the team never calls, whatever happened before."""
    if not rules.looks_at_numbers:
        return {}
    return await asyncio.to_thread(_judge, numbers, rules)


def _judge(numbers: Mapping[UUID, str | None], rules: TeamRules) -> dict[UUID, Block]:
    blocked: dict[UUID, Block] = {}
    for item_id, text in numbers.items():
        number = read_number(text or "")
        # A number nobody can read is in no country.
        region = None if isinstance(number, str) else number.region
        is_premium = not isinstance(number, str) and number.is_premium
        block = rules.judge(region=region, is_premium=is_premium)
        if block is not None:
            blocked[item_id] = block
    return blocked
