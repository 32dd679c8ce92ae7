"""Agents: who speaks in a batch of calls."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from batchyard.errors import NotFound
from batchyard.models import BatchState, JsonObject, Team
from batchyard.operations.contacts import reconsider_windows
from batchyard.operations.transactions import Transactions
from batchyard.store import agents, control, numbers, webhooks
from batchyard.store.agents import AgentRow, NamedAgent
from batchyard.store.db import Connection
from batchyard.store.ids import new_id
from batchyard.windows import read_guardrails

NAME_KEY = "agent_name"
WEBHOOK_KEY = "webhook_url"
WINDOW_KEY = "calling_guardrails"


Seal = Callable[[Connection, AgentRow, AgentRow], Awaitable[None]]
"""Is given an agent as it was and as it is now, in the transaction that changes it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentChange:
    """What a client says about an agent; None leaves it as it is where that is possible."""

    config: JsonObject | None
    prompts: JsonObject | None
    extra: JsonObject


async def require_agent(db: Transactions, *, team: Team, agent_id: UUID) -> None:
    """Raise `NotFound` unless the team has this agent."""
    async with db.transaction() as conn:
        await _require(conn, team=team, agent_id=agent_id)


async def use_agent(
    conn: Connection,
    *,
    team: Team,
    agent_id: UUID,
    creates: bool,
    name: str | None = None,
    now: datetime,
) -> str | None:
    """Make sure within a transaction that the team has this agent.

    `creates` makes one of an id never seen before, called `name` or else by its id, and its name is
    returned. Raises `NotFound`, also for an id that is another team's.
    """
    name = name or f"Agent {agent_id.hex[:8]}"
    is_new = creates and await agents.insert_unless_taken(
        conn, agent_id=agent_id, team_id=team.id, name=name, now=now
    )
    await _require(conn, team=team, agent_id=agent_id)
    return name if is_new else None


async def list_agents(db: Transactions, *, team: Team) -> Sequence[NamedAgent]:
    """List the team's agents, the oldest first."""
    async with db.transaction() as conn:
        return await agents.list_named(conn, team_id=team.id)


async def create_agent(
    db: Transactions, *, team: Team, change: AgentChange, webhook_format: str
) -> UUID:
    """Make an agent of what a client sent, and return its id.

    `webhook_format` says in whose words the agent's webhook speaks. Raises `InvalidRequest` for
    guardrails that make no window.
    """
    agent_id, agent = new_id(), _replaced(change)
    async with db.transaction() as conn:
        now = db.clock()
        await agents.insert(conn, agent_id=agent_id, team_id=team.id, agent=agent, now=now)
        await _set_webhook(
            conn, agent, team=team, agent_id=agent_id, webhook_format=webhook_format, now=now
        )
    return agent_id


async def replace_agent(
    db: Transactions,
    *,
    team: Team,
    agent_id: UUID,
    change: AgentChange,
    webhook_format: str,
    seal: Seal | None = None,
) -> None:
    """Put what a client sent in the place of all that was known.

    `seal` is given both, to do more in the transaction. Raises `NotFound`, and `InvalidRequest` for
    guardrails that make no window.
    """
    async with db.transaction() as conn:
        known = await _lock(conn, team=team, agent_id=agent_id)
        agent, now = _replaced(change), db.clock()
        await agents.update(conn, agent_id=agent_id, agent=agent, now=now)
        await _set_webhook(
            conn, agent, team=team, agent_id=agent_id, webhook_format=webhook_format, now=now
        )
        if seal is not None:
            await seal(conn, known, agent)
    await _follow_window(db, known, agent, team=team, agent_id=agent_id)


async def patch_agent(
    db: Transactions,
    *,
    team: Team,
    agent_id: UUID,
    change: AgentChange,
    webhook_format: str,
    seal: Seal | None = None,
) -> None:
    """Change only the keys a client sent, the uppermost of each part.

    `seal` is given what was and what is, to do more in the transaction. Raises `NotFound`, and
    `InvalidRequest` for guardrails that make no window.
    """
    async with db.transaction() as conn:
        known = await _lock(conn, team=team, agent_id=agent_id)
        config = {**known.config, **(change.config or {})}
        read_guardrails(config.get(WINDOW_KEY))
        agent = replace(
            known,
            name=_name(config, otherwise=known.name),
            config=config,
            prompts=_merged(known.prompts, change.prompts),
            extra={**known.extra, **change.extra},
        )
        now = db.clock()
        await agents.update(conn, agent_id=agent_id, agent=agent, now=now)
        await _set_webhook(
            conn, agent, team=team, agent_id=agent_id, webhook_format=webhook_format, now=now
        )
        if seal is not None:
            await seal(conn, known, agent)
    await _follow_window(db, known, agent, team=team, agent_id=agent_id)


async def delete_agent(db: Transactions, *, team: Team, agent_id: UUID) -> None:
    """Delete an agent; its batches go by `delete_batches_of_deleted_agents`. Raises `NotFound`."""
    async with db.transaction() as conn:
        await _lock(conn, team=team, agent_id=agent_id)
        now = db.clock()
        await agents.mark_deleted(conn, agent_id=agent_id, now=now)
        await numbers.free_of_agent(conn, agent_id=agent_id, now=now)
        await webhooks.remove_of_agent(conn, agent_id=agent_id, now=now)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped:
    """What stopping an agent ended."""

    states: Mapping[UUID, str]
    """Of the batches, before they were stopped."""
    item_ids: str
    """A JSON array of the items that nobody had taken, and that never will be sent.

    Of those a worker has just taken nobody can say; what it hands back ends as these do.
    """


async def stop_agent(db: Transactions, *, team: Team, agent_id: UUID) -> Stopped:
    """Stop all batches and calls of an agent; their items end soon after. Raises `NotFound`."""
    async with db.transaction() as conn:
        await _require(conn, team=team, agent_id=agent_id)
        states = await agents.lock_stoppable_batches(conn, agent_id=agent_id)
        item_ids = await agents.render_unsent(conn, batch_ids=list(states))
        now = db.clock()
        for batch_id in states:
            await control.set_state(
                conn, batch_id=batch_id, state=BatchState.STOPPED, reason=None, now=now
            )
    return Stopped(states=states, item_ids=item_ids)


async def _require(conn: Connection, *, team: Team, agent_id: UUID) -> None:
    if not await agents.exists(conn, agent_id=agent_id, team_id=team.id):
        raise _missing()


async def _lock(conn: Connection, *, team: Team, agent_id: UUID) -> AgentRow:
    agent = await agents.lock(conn, agent_id=agent_id, team_id=team.id)
    if agent is None:
        raise _missing()
    return agent


async def _set_webhook(
    conn: Connection,
    agent: AgentRow,
    *,
    team: Team,
    agent_id: UUID,
    webhook_format: str,
    now: datetime,
) -> None:
    url = agent.config.get(WEBHOOK_KEY)
    if isinstance(url, str) and url:
        await webhooks.put_of_agent(
            conn, team_id=team.id, agent_id=agent_id, url=url, format_=webhook_format, now=now
        )
    else:
        await webhooks.remove_of_agent(conn, agent_id=agent_id, now=now)


async def _follow_window(
    db: Transactions, known: AgentRow, agent: AgentRow, *, team: Team, agent_id: UUID
) -> None:
    """Look anew at calls that wait for a window which is another now."""
    if known.config.get(WINDOW_KEY) != agent.config.get(WINDOW_KEY):
        await reconsider_windows(db, team=team, agent_id=agent_id)


def _replaced(change: AgentChange) -> AgentRow:
    config = change.config or {}
    read_guardrails(config.get(WINDOW_KEY))
    return AgentRow(
        name=_name(config, otherwise=""), config=config, prompts=change.prompts, extra=change.extra
    )


def _name(config: Mapping[str, object], *, otherwise: str) -> str:
    name = config.get(NAME_KEY)
    return name if isinstance(name, str) else otherwise


def _merged(known: JsonObject | None, sent: JsonObject | None) -> JsonObject | None:
    return known if sent is None else {**(known or {}), **sent}


def _missing() -> NotFound:
    return NotFound("There is no such agent.")
