"""What intake asks about numbers: their zones, and whether the team calls them at all."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from batchyard.contact_rules import Block, TeamRules
from batchyard.intake.zones import list_zone_sets
from batchyard.models import Team
from batchyard.operations.transactions import Transactions
from batchyard.store import attempts, contacts, windows
from batchyard.windows import day_start

Numbers = Mapping[str, tuple[str, ...]]
"""Numbers in E.164, each with its zones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContactCheck:
    """A team's rules as they are when an upload begins; sending checks them again."""

    team_id: int
    rules: TeamRules
    has_entries: bool
    zone_sets: Mapping[tuple[str, ...], int]
    """The id of each set of zones; what is missing here is unknown."""

    @property
    def looks_up(self) -> bool:
        """Whether numbers have to be looked up in the database."""
        return self.has_entries or self.rules.limits_attempts


async def open_check(db: Transactions, *, team: Team) -> ContactCheck:
    """Read what the check of numbers needs."""
    # The first time in a process that reads the machine's clock data: not in a transaction.
    zone_sets = await asyncio.to_thread(list_zone_sets)
    async with db.transaction() as conn:
        return ContactCheck(
            team_id=team.id,
            rules=await contacts.read_rules(conn, team_id=team.id),
            has_entries=await contacts.has_entries(conn, team_id=team.id),
            zone_sets=await windows.ensure_zone_sets(conn, zone_sets),
        )


async def find_blocked(db: Transactions, check: ContactCheck, numbers: Numbers) -> dict[str, Block]:
    """Return the numbers that must not be called now, each with the reason."""
    if not numbers or not check.looks_up:
        return {}
    now = db.clock()
    blocked: dict[str, Block] = {}
    async with db.transaction() as conn:
        if check.rules.limits_attempts:
            days = {
                zones: (day_start(zones, now), day_start(zones, now, days_back=6))
                for zones in set(numbers.values())
            }
            reached = await attempts.find_reached(
                conn,
                team_id=check.team_id,
                numbers=[(number, *days[zones]) for number, zones in numbers.items()],
            )
            blocked |= dict.fromkeys(reached, Block.ATTEMPTS_REACHED)
        if check.has_entries:
            listed = await contacts.find_listed(
                conn, team_id=check.team_id, numbers=list(numbers), now=now
            )
            blocked |= dict.fromkeys(listed, Block.DO_NOT_CONTACT)
    return blocked
