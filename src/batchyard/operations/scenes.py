"""What a rehearsal plays in: who would get the items, and everything that would hold them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from batchyard.config import Config
from batchyard.contact_rules import TeamRules
from batchyard.errors import ConfigError, NotFound
from batchyard.limits import Bucket
from batchyard.models import Kind, Rate, RetryPolicy, Team
from batchyard.operations.outlooks import Assumptions, SampledItem, sandbox_settings
from batchyard.operations.plays import Brake, Scene
from batchyard.providers.registry import find_kind
from batchyard.providers.settings import read_settings
from batchyard.rehearsal import SLOTS, Ceiling, Plan
from batchyard.store import agents, contacts, limits, rehearsals, workers
from batchyard.store.db import Connection, Database
from batchyard.store.rehearsals import KeptLimit, RoutedProvider
from batchyard.windows import Window, read_guardrails

OBSERVED_DAYS = 7
OBSERVED_ATTEMPTS = 5000
FEWEST_OBSERVED = 30
"""Fewer attempts say too little."""
ALIVE_WITHIN = timedelta(seconds=10)
SANDBOX = "sandbox"

UNUSABLE = "The provider cannot be opened with its settings; nothing would be sent."
NO_WORKER = "No worker is alive now; one is assumed."
REMARKS = (UNUSABLE, NO_WORKER)
"""What is said of a scene."""


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
    has_brake: bool = True
    assumptions: Assumptions = field(default_factory=Assumptions)


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnLimits:
    """What holds unless somebody set something else."""

    cap: int | None = None
    rate: Rate | None = None


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
    now = db.clock()
    start_at = max(settings.start_at or now, now)
    async with db.pool.connection() as conn:
        provider = await _find_provider(conn, team=team, kind=kind, agent_id=settings.agent_id)
        observed = await rehearsals.list_observed(
            conn,
            team_id=team.id,
            kind=kind,
            provider=provider.name,
            since=now - timedelta(days=OBSERVED_DAYS),
            limit=OBSERVED_ATTEMPTS,
        )
        alive = await workers.count_alive(conn, since=now - ALIVE_WITHIN)
        own = _own_limits(provider)
        ceilings = await _read_ceilings(
            conn,
            settings,
            keys={
                limits.team_key(team.id): OwnLimits(cap=config.team_concurrency),
                limits.provider_key(provider.id): own or OwnLimits(),
            },
            at=start_at,
        )
        plan = Plan(
            zones=[one.zones for one in items],
            stands_for=total / len(items) if items else 1.0,
            start_at=start_at,
            retry_policy=settings.retry_policy,
            ceilings=[*ceilings, *_slots(kind, provider, config, alive=alive)],
        )
        plan = await _with_rules(conn, plan, team=team, kind=kind, items=items, settings=settings)
    sandbox = _sandbox(provider, config)
    scene = Scene(
        kind=kind,
        # Nobody but the sandbox looks into an item, so the payloads need not travel.
        items=items if sandbox else [replace(one, payload=b"{}") for one in items],
        plan=plan,
        sandbox=sandbox,
        observed=observed if len(observed) >= FEWEST_OBSERVED else (),
        assumptions=settings.assumptions,
        brake=_brake(config) if settings.has_brake else None,
    )
    remarks = [UNUSABLE] if own is None else []
    if not alive:
        remarks.append(NO_WORKER)
    return SetScene(scene=scene, provider=provider.name, remarks=remarks)


async def _find_provider(
    conn: Connection, *, team: Team, kind: Kind, agent_id: UUID | None
) -> RoutedProvider:
    if agent_id is not None and not await agents.exists(conn, agent_id=agent_id, team_id=team.id):
        raise NotFound("There is no such agent.")
    provider = await rehearsals.find_provider(conn, team_id=team.id, kind=kind, agent_id=agent_id)
    if provider is None:
        raise NotFound("There is no provider for these items.")
    return provider


async def _with_rules(
    conn: Connection,
    plan: Plan,
    *,
    team: Team,
    kind: Kind,
    items: Sequence[SampledItem],
    settings: RehearsalSettings,
) -> Plan:
    """Return the plan under what the team has set for its calls."""
    rules = await contacts.read_rules(conn, team_id=team.id)
    is_counted = rules.limits_attempts and kind is Kind.CALL
    return replace(
        plan,
        window=await _read_window(conn, rules, team=team, kind=kind, settings=settings),
        fallback_zone=rules.fallback_zone,
        numbers=[one.number for one in items] if is_counted else (),
        attempts_per_day=rules.attempts_per_day,
        attempts_per_week=rules.attempts_per_week,
    )


def _brake(config: Config) -> Brake | None:
    if config.brake_share >= 1:
        return None
    return Brake(attempts=config.brake_attempts, share=config.brake_share)


def _sandbox(provider: RoutedProvider, config: Config) -> tuple[float, str] | None:
    if provider.kind != SANDBOX:
        return None
    return sandbox_settings(provider.settings, speed=config.sandbox_speed, seed=config.sandbox_seed)


async def _read_window(
    conn: Connection, rules: TeamRules, *, team: Team, kind: Kind, settings: RehearsalSettings
) -> Window | None:
    """Return the calling window; None is always open."""
    if kind is not Kind.CALL or settings.bypass_windows:
        return None
    given = None
    if settings.agent_id is not None:
        given = await rehearsals.read_guardrails(conn, team_id=team.id, agent_id=settings.agent_id)
    start_hour, end_hour = read_guardrails(given) or (0, 24)
    window = Window(
        start_hour=start_hour, end_hour=end_hour, days=rules.days, holidays=rules.holidays
    )
    return None if window.is_always_open else window


async def _read_ceilings(
    conn: Connection,
    settings: RehearsalSettings,
    *,
    keys: Mapping[str, OwnLimits],
    at: datetime,
) -> list[Ceiling]:
    """Read the limits of these keys, and of the agent and batch there may be."""
    known = dict(keys)
    if settings.agent_id is not None:
        known[limits.agent_key(settings.agent_id)] = OwnLimits()
    if settings.batch_id is not None:
        known[limits.batch_key(settings.batch_id)] = OwnLimits()
    kept = await rehearsals.read_limits(conn, keys=list(known))
    return [
        _ceiling(key.partition(":")[0], [one for one in kept if one.key == key], own, at=at)
        for key, own in known.items()
    ]


def _ceiling(scope: str, rows: Sequence[KeptLimit], own: OwnLimits, *, at: datetime) -> Ceiling:
    cap = next((one.concurrency for one in rows if one.concurrency is not None), None)
    rates = tuple(
        Bucket(
            seconds=one.seconds,
            count=one.count,
            burst=one.burst or 1,
            tokens=one.tokens or 0,
            refilled_at=one.refilled_at or at,
        ).refill(at)
        for one in rows
        if one.count is not None and one.seconds is not None
    )
    if not rates and own.rate is not None:
        # As the first admission writes it.
        seconds, count = own.rate.seconds, own.rate.count
        rates = (Bucket(seconds=seconds, count=count, burst=1, tokens=1, refilled_at=at),)
    return Ceiling(key=scope, cap=own.cap if cap is None else cap, rates=rates)


def _slots(
    kind: Kind, provider: RoutedProvider, config: Config, *, alive: int
) -> Sequence[Ceiling]:
    """Return what the workers can have out at once, where an item has a slot until it ends.

    A call is out only until it was taken, as everything is in the sandbox; then nobody waits.
    """
    if kind is Kind.CALL or provider.kind == SANDBOX:
        return []
    return [Ceiling(key=SLOTS, cap=config.worker_slots * max(1, alive))]


def _own_limits(provider: RoutedProvider) -> OwnLimits | None:
    """Return what a provider wants unless the operator sets limits; None: it cannot be opened."""
    try:
        kind = find_kind(provider.kind)
        if kind.settings_model is None:
            own = provider.settings.get("concurrency")
            cap, rate = own if isinstance(own, int) else kind.concurrency, kind.rate
        else:
            settings = read_settings(kind.settings_model, provider.name, provider.settings)
            cap = getattr(settings, "concurrency", kind.concurrency)
            rate = getattr(settings, "rate", kind.rate)
    except ConfigError:
        return None
    # What a provider works out itself is a property of its class, and known once it is open.
    return OwnLimits(
        cap=cap if isinstance(cap, int) else None, rate=rate if isinstance(rate, Rate) else None
    )
