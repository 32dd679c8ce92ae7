"""Addresses that listen to a team, changed with their trace in the audit log."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from batchyard.models import Team
from batchyard.operations import endpoints, webhooks
from batchyard.operations.audit import Actor, note
from batchyard.operations.transactions import Transactions, one_transaction
from batchyard.store.endpoints import Endpoint


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What can be changed of an endpoint."""

    url: str
    description: str | None
    events: Sequence[str] | None
    is_disabled: bool


async def change_endpoint(
    db: Transactions,
    *,
    team: Team,
    actor: Actor,
    endpoint_id: UUID,
    change: Callable[[Settings], Settings],
) -> Endpoint:
    """Change an endpoint; the trace tells what is another now.

    `change` makes the new settings of those that hold. Raises `NotFound` and `InvalidRequest`.
    """
    async with one_transaction(db) as work:
        found = await endpoints.lock_endpoint(work, team=team, endpoint_id=endpoint_id)
        old = _settings_of(found)
        new = change(old)
        changed = await endpoints.write_endpoint(
            work,
            team=team,
            endpoint_id=endpoint_id,
            url=new.url,
            description=new.description,
            events=new.events,
            is_disabled=new.is_disabled,
        )
        before, after = asdict(old), asdict(new)
        others = [name for name, value in after.items() if before[name] != value]
        await note(
            work.connection,
            team=team,
            actor=actor,
            action="webhook.change",
            subject=str(endpoint_id),
            before={name: before[name] for name in others},
            after={name: after[name] for name in others},
            now=db.clock(),
        )
    return changed


async def delete_endpoint(db: Transactions, *, team: Team, actor: Actor, endpoint_id: UUID) -> None:
    """Let an address listen no more. Raises `NotFound`."""
    async with one_transaction(db) as work:
        found = await endpoints.read_endpoint(work, team=team, endpoint_id=endpoint_id)
        await endpoints.delete_endpoint(work, team=team, endpoint_id=endpoint_id)
        await note(
            work.connection,
            team=team,
            actor=actor,
            action="webhook.delete",
            subject=str(endpoint_id),
            before=asdict(_settings_of(found)),
            after={"is_deleted": True},
            now=db.clock(),
        )


def _settings_of(endpoint: Endpoint) -> Settings:
    return Settings(
        url=endpoint.url,
        description=endpoint.description,
        events=endpoint.events,
        is_disabled=endpoint.disabled_at is not None,
    )


async def redeliver(db: Transactions, *, team: Team, actor: Actor, delivery_id: UUID) -> None:
    """Send a delivery once more; the trace tells what had become of it. Raises `NotFound`."""
    async with one_transaction(db) as work:
        before = await webhooks.read_state(work, team=team, delivery_id=delivery_id)
        await webhooks.redeliver(work, team=team, delivery_id=delivery_id)
        await note(
            work.connection,
            team=team,
            actor=actor,
            action="webhook.redeliver",
            subject=str(delivery_id),
            before={"state": before},
            after={"state": "pending"},
            now=db.clock(),
        )


async def redeliver_failed(db: Transactions, *, team: Team, actor: Actor) -> int:
    """Send everything once more that was given up; return how much."""
    async with one_transaction(db) as work:
        sent = await webhooks.redeliver_failed(work, team=team)
        await note(
            work.connection,
            team=team,
            actor=actor,
            action="webhook.redeliver_failed",
            before={"state": "failed", "deliveries": sent},
            after={"state": "pending", "deliveries": sent},
            now=db.clock(),
        )
    return sent


async def rotate_secret(db: Transactions, *, team: Team, actor: Actor) -> None:
    """Sign with a new secret too; the trace tells how many sign, and none of them."""
    async with one_transaction(db) as work:
        before = len(await endpoints.list_signing_secrets(work, team=team))
        await endpoints.rotate_secret(work, team=team)
        after = len(await endpoints.list_signing_secrets(work, team=team))
        await note(
            work.connection,
            team=team,
            actor=actor,
            action="webhook.rotate_secret",
            before={"secrets": before},
            after={"secrets": after},
            now=db.clock(),
        )
