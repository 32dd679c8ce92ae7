"""Set how much may be in flight, and how fast it may start."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from batchyard.errors import InvalidRequest, NotFound
from batchyard.models import Rate
from batchyard.operations.teams import find_team
from batchyard.operations.transactions import Transactions
from batchyard.store import agents, batches, limits, providers, queue, teams
from batchyard.store.db import Connection, Database
from batchyard.store.limits import Ceiling

MOST = 1_000_000
LONGEST_SECONDS = 31 * 86_400
SCOPES = "team:SLUG, provider:NAME, agent:ID or batch:ID"


@dataclass(frozen=True, kw_only=True, slots=True)
class SetLimit:
    """What was set, and remarks on it."""

    key: str
    team_ids: Sequence[int]
    """Whom it concerns."""
    before: Ceiling
    """What it replaced."""
    remarks: Sequence[str]


async def set_limit(
    db: Transactions,
    *,
    scope: str,
    concurrency: int | None,
    rates: Sequence[Rate],
    burst: int | None = None,
    weight: int | None = None,
) -> SetLimit:
    """Set the limits of `team:SLUG`, `provider:NAME`, `agent:ID` or `batch:ID`, replacing all.

    Effective at the next admission; what is live is never cancelled. Raises `InvalidRequest` for
    numbers below one and unknown scopes, `NotFound` for what does not exist.
    """
    _check(scope, concurrency=concurrency, rates=rates, burst=burst, weight=weight)
    async with db.transaction() as conn:
        key, team_ids = await _resolve(db, conn, scope)
        before = (await limits.read_ceilings(conn, [key])).get(key, Ceiling())
        now = db.clock()
        await limits.set_cap(conn, key=key, concurrency=concurrency)
        await limits.clear_rates(conn, key=key, kept=[rate.seconds for rate in rates])
        for rate in rates:
            await limits.set_rate(
                conn, key=key, seconds=rate.seconds, count=rate.count, burst=burst or 1, now=now
            )
        if weight is not None:
            await teams.set_weight(conn, team_id=team_ids[0], weight=weight)
        for team_id in sorted(team_ids):
            await queue.wake(conn, team_id=team_id, now=now)
    return SetLimit(key=key, team_ids=team_ids, before=before, remarks=_contradictions(rates))


async def list_limits(db: Database) -> dict[str, Ceiling]:
    """List every limit that was set, by its key."""
    async with db.pool.connection() as conn:
        return await limits.read_ceilings(conn, await limits.list_keys(conn))


async def read_burst(db: Transactions, *, scope: str) -> int | None:
    """Return how many items may start at one moment by the rates of a scope; None without any.

    Raises `InvalidRequest` for unknown scopes, `NotFound` for what does not exist.
    """
    async with db.transaction() as conn:
        key, _ = await _resolve(db, conn, scope)
        return (await limits.read_ceilings(conn, [key])).get(key, Ceiling()).burst


async def read_batch_limit(db: Database, *, batch_id: UUID) -> Ceiling:
    """Return what was set for a batch; nothing where nothing was."""
    key = limits.batch_key(batch_id)
    async with db.pool.connection() as conn:
        return (await limits.read_ceilings(conn, [key])).get(key, Ceiling())


def _check(
    scope: str,
    *,
    concurrency: int | None,
    rates: Sequence[Rate],
    burst: int | None,
    weight: int | None,
) -> None:
    for name, value in (("concurrency", concurrency), ("burst", burst), ("weight", weight)):
        if value is not None and value < 1:
            raise InvalidRequest(f"{name} must be 1 or more; to hold everything, pause instead.")
        if value is not None and value > MOST:
            raise InvalidRequest(f"{name} may be {MOST:,} at most.")
    if any(rate.count > MOST or rate.seconds > LONGEST_SECONDS for rate in rates):
        raise InvalidRequest(f"A rate is {MOST:,} items at most, in 31 days at most.")
    if any(rate.count < 1 or rate.seconds < 1 for rate in rates):
        raise InvalidRequest("A rate is 1 or more items in 1 or more seconds.")
    if weight is not None and not scope.startswith("team:"):
        raise InvalidRequest("Only a team has a weight.")
    if burst is not None and not rates:
        raise InvalidRequest("A burst belongs to a rate; name the rate too.")
    seconds = [rate.seconds for rate in rates]
    if len(set(seconds)) < len(seconds):
        raise InvalidRequest("Two rates over the same time contradict each other; give one.")


async def _resolve(db: Transactions, conn: Connection, scope: str) -> tuple[str, list[int]]:
    """Return the key of a scope, and the teams that a change of it may let go on."""
    kind, _, name = scope.partition(":")
    match kind:
        case "team":
            team = await find_team(db, slug_or_uuid=name)
            if team is not None:
                return limits.team_key(team.id), [team.id]
        case "provider":
            row = await providers.find(conn, name=name)
            if row is not None:
                return limits.provider_key(row.id), await teams.list_ids(conn)
        case "agent":
            agent_id = _uuid(name, scope)
            owner = await agents.find_team_id(conn, agent_id=agent_id)
            if owner is not None:
                return limits.agent_key(agent_id), [owner]
        case "batch":
            batch_id = _uuid(name, scope)
            owner = await batches.find_team_id(conn, batch_id=batch_id)
            if owner is not None:
                return limits.batch_key(batch_id), [owner]
        case _:
            raise InvalidRequest(f"'{scope}' is no scope. Write {SCOPES}.")
    raise NotFound(f"There is no {kind} '{name}'.")


def _uuid(text: str, scope: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidRequest(f"'{scope}' does not name an id. Write {SCOPES}.") from error


def _contradictions(rates: Sequence[Rate]) -> list[str]:
    """Say which rates can never be reached because a stricter one wins."""
    pairs = [(fast, slow) for fast in rates for slow in rates if slow.seconds > fast.seconds]
    return [
        *(
            f"{slow.count} in {slow.seconds} s wins over {fast.count} in {fast.seconds} s whenever "
            f"more than {slow.count} are due."
            for fast, slow in pairs
            if slow.count <= fast.count
        ),
        *(
            f"{fast.count} in {fast.seconds} s wins over {slow.count} in {slow.seconds} s, which "
            "can never be reached."
            for fast, slow in pairs
            if fast.count * slow.seconds <= slow.count * fast.seconds
        ),
    ]
