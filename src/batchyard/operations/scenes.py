"""What a rehearsal plays in: who would get the items, and everything that would hold them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from batchyard.config import Config
from batchyard.errors import NotFound
from batchyard.limits import Bucket
from batchyard.models import Kind, RetryPolicy, Team
from batchyard.operations.outlooks import Assumptions, SampledItem, sandbox_settings
from batchyard.operations.plays import Scene
from batchyard.providers.http_settings import HttpSettings
from batchyard.providers.registry import find_kind
from batchyard.rehearsal import Ceiling, Plan
from batchyard.store import agents, contacts, limits, rehearsals, workers
from batchyard.store.db import Connection, Database
from batchyard.store.rehearsals import KeptLimit, RoutedProvider
from batchyard.windows import Window, read_guardrails

OBSERVED_DAYS = 7
OBSERVED_ATTEMPTS = 5000
FEWEST_OBSERVED = 30
"""Fewer attempts say too little."""
ALIVE_WITHIN = timedelta(seconds=10)
SANDBOX, HTTP = "sandbox", "http"
HTTP_CONCURRENCY: int = HttpSettings.model_fields["concurrency"].default


@dataclass(frozen=True, kw_only=True, slots=True)
class RehearsalSettings:
    """What is asked beside the items."""

    agent_id: UUID | None = None
    batch_id: UUID | None = None
    """A batch that is there already: its own limits count too."""
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    start_at: datetime | None = None
    """None is now."""
    bypass_windows: bool = False
    assumptions: Assumptions = field(default_factory=Assumptions)


@dataclass(frozen=True, kw_only=True, slots=True)
class SetScene:
    """A scene, and what is to be said of it."""

    scene: Scene
    provider: str
    remarks: Sequence[str]


async def set_scene(
    db: Database,
    *,
    team: Team,
    kind: Kind,
    items: Sequence[SampledItem],
    total: int,
    settings: RehearsalSettings,
    config: Config,
) -> SetScene:
    """Read what admission would go by for items that stand for `total`. Raises `NotFound`."""
    agent_id, now = settings.agent_id, db.clock()
    async with db.pool.connection() as conn:
        if agent_id is not None and not await agents.exists(
            conn, agent_id=agent_id, team_id=team.id
        ):
            raise NotFound("There is no such agent.")
        provider = await rehearsals.find_provider(
            conn, team_id=team.id, kind=kind, agent_id=agent_id
        )
        if provider is None:
            raise NotFound("There is no provider for these items.")
        observed = await rehearsals.list_observed(
            conn,
            team_id=team.id,
            kind=kind,
            provider=provider.name,
            since=now - timedelta(days=OBSERVED_DAYS),
            limit=OBSERVED_ATTEMPTS,
        )
        fallback_zone, window = await _read_window(conn, team=team, kind=kind, settings=settings)
        start_at = max(settings.start_at or now, now)
        plan = Plan(
            zones=[one.zones for one in items],
            stands_for=total / len(items) if items else 1.0,
            start_at=start_at,
            retry_policy=settings.retry_policy,
            ceilings=await _read_ceilings(conn, provider, team, settings, config, at=start_at),
            window=window,
            fallback_zone=fallback_zone,
        )
        alive = await workers.count_alive(conn, since=now - ALIVE_WITHIN)
    sandbox = _sandbox(provider, config)
    scene = Scene(
        kind=kind,
        # Nobody but the sandbox looks into an item, so the payloads need not travel.
        items=items if sandbox else [replace(one, payload=b"{}") for one in items],
        plan=plan,
        sandbox=sandbox,
        observed=observed if len(observed) >= FEWEST_OBSERVED else (),
        assumptions=settings.assumptions,
    )
    remarks = [] if alive else ["No worker is alive now; one is assumed."]
    return SetScene(scene=scene, provider=provider.name, remarks=remarks)


def _sandbox(provider: RoutedProvider, config: Config) -> tuple[float, str] | None:
    if provider.kind != SANDBOX:
        return None
    return sandbox_settings(provider.settings, speed=config.sandbox_speed, seed=config.sandbox_seed)


async def _read_window(
    conn: Connection, *, team: Team, kind: Kind, settings: RehearsalSettings
) -> tuple[str | None, Window | None]:
    """Return the zone that stands in for unknown ones, and the window; None is always open."""
    rules = await contacts.read_rules(conn, team_id=team.id)
    if kind is not Kind.CALL or settings.bypass_windows:
        return rules.fallback_zone, None
    given = None
    if settings.agent_id is not None:
        given = await rehearsals.read_guardrails(conn, team_id=team.id, agent_id=settings.agent_id)
    start_hour, end_hour = read_guardrails(given) or (0, 24)
    window = Window(
        start_hour=start_hour, end_hour=end_hour, days=rules.days, holidays=rules.holidays
    )
    return rules.fallback_zone, None if window.is_always_open else window


async def _read_ceilings(
    conn: Connection,
    provider: RoutedProvider,
    team: Team,
    settings: RehearsalSettings,
    config: Config,
    *,
    at: datetime,
) -> list[Ceiling]:
    keys = {limits.team_key(team.id): "team", limits.provider_key(provider.id): "provider"}
    if settings.agent_id is not None:
        keys[limits.agent_key(settings.agent_id)] = "agent"
    if settings.batch_id is not None:
        keys[limits.batch_key(settings.batch_id)] = "batch"
    defaults = {"team": config.team_concurrency, "provider": _own_concurrency(provider)}
    kept = await rehearsals.read_limits(conn, keys=list(keys))
    return [
        _ceiling(scope, [one for one in kept if one.key == key], defaults.get(scope), at=at)
        for key, scope in keys.items()
    ]


def _ceiling(
    scope: str, rows: Sequence[KeptLimit], default: int | None, *, at: datetime
) -> Ceiling:
    cap = next((one.concurrency for one in rows if one.concurrency is not None), None)
    return Ceiling(
        key=scope,
        cap=default if cap is None else cap,
        rates=tuple(
            Bucket(
                seconds=one.seconds,
                count=one.count,
                burst=one.burst or 1,
                tokens=one.tokens or 0,
                refilled_at=one.refilled_at or at,
            ).refill(at)
            for one in rows
            if one.count is not None and one.seconds is not None
        ),
    )


def _own_concurrency(provider: RoutedProvider) -> int | None:
    """Return the cap that a provider has unless the operator sets another."""
    own = provider.settings.get("concurrency")
    if isinstance(own, int):
        return own
    if provider.kind == HTTP:
        return HTTP_CONCURRENCY
    return find_kind(provider.kind).concurrency
