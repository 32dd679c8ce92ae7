"""A rehearsal's play: the whole for what is expected, parts of it for the range; pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

from batchyard.intake.options import UploadReport
from batchyard.lifecycle import FAILURE_STATUSES
from batchyard.models import Kind
from batchyard.operations.outlooks import (
    Assumptions,
    DrawnOutlook,
    SampledItem,
    SandboxOutlook,
    draw_assumed,
    draw_observed,
)
from batchyard.rehearsal import EARLIER, Outlook, Plan, Played, play
from batchyard.store.rehearsals import ObservedAttempt

PARTS = 4
"""Plays of a part each, from which the range comes."""
LEAST_SPREAD = 0.02
"""No range is narrower: machines and networks differ by as much."""
SLOTS_TAKEN = "The workers' slots would all be taken: more workers or more slots make it quicker."
BRAKES = "So much would fail that the batch would pause itself before its end."
REMARKS = (SLOTS_TAKEN, BRAKES)
"""What is said of a play."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """A number, and between what it will most likely be."""

    low: float
    expected: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A moment, and between what it will most likely be."""

    low: datetime
    expected: datetime
    high: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsal:
    """What a batch of the file would do."""

    upload: UploadReport
    items: int
    sampled: int
    """Items that were played; each stands for as many of the file."""
    provider: str
    basis: str
    """`exact`, `observed` or `assumed`: where durations and outcomes come from."""
    attempts: Range
    retries: float
    ended: Mapping[str, float]
    """Items by the status they would end with."""
    costs: Mapping[str, Range]
    """By currency, in minor units."""
    starts_at: datetime | None
    ends_at: Span
    busiest_hour: datetime | None
    busiest_hour_attempts: float
    pace: Sequence[tuple[datetime, float]]
    """Attempts that begin from each moment on, in steps of equal length."""
    limited_by: str | None
    """What items wait for most, in the words of `operations.waiting`."""
    waits: Mapping[str, float]
    """Seconds that items wait, by reason."""
    remarks: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Brake:
    """When a batch pauses itself: more than this share of so many attempts failed."""

    attempts: int
    share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """Everything a play needs; travels to another process."""

    kind: Kind
    items: Sequence[SampledItem]
    plan: Plan
    sandbox: tuple[float, str] | None
    """Speed and seed, where the items go to the sandbox."""
    observed: Sequence[ObservedAttempt]
    assumptions: Assumptions
    brake: Brake | None = None


def play_scene(scene: Scene) -> Rehearsal:
    """Play a scene whole, and parts of it for the range; runs in any process."""
    whole = play(scene.plan, _outlook(scene, scene.items, die=0))
    plays = [whole, *(_play_part(scene, part) for part in range(PARTS))]
    waits = dict(whole.waits)
    limited_by = max(waits, key=lambda reason: waits[reason], default=None)
    start_at = scene.plan.start_at
    seconds = _range([(one.ends_at - start_at).total_seconds() for one in plays])
    return Rehearsal(
        upload=UploadReport(),
        items=0,
        sampled=len(scene.items),
        provider="",
        basis="exact" if scene.sandbox else "observed" if scene.observed else "assumed",
        attempts=_range([one.attempts for one in plays]),
        retries=whole.retries,
        ended=whole.ended,
        costs={
            currency: _range([one.costs.get(currency, 0) for one in plays])
            for currency in whole.costs
        },
        starts_at=whole.starts_at,
        ends_at=Span(
            low=start_at + timedelta(seconds=seconds.low),
            expected=whole.ends_at,
            high=start_at + timedelta(seconds=seconds.high),
        ),
        busiest_hour=whole.busiest_hour,
        busiest_hour_attempts=whole.busiest_hour_attempts,
        pace=whole.pace,
        limited_by=limited_by,
        waits=waits,
        remarks=list(_remarks(scene, whole, limited_by)),
    )


def _remarks(scene: Scene, played: Played, limited_by: str | None) -> Iterator[str]:
    if limited_by == EARLIER:
        yield SLOTS_TAKEN
    if scene.brake is not None and _pulls(scene.brake, played):
        yield BRAKES


def _pulls(brake: Brake, played: Played) -> bool:
    """Tell whether the brake would have its reason over the whole batch."""
    failed = sum(played.attempts_ended.get(status, 0) for status in FAILURE_STATUSES)
    return played.attempts >= brake.attempts and failed > brake.share * played.attempts


def _play_part(scene: Scene, part: int) -> Played:
    """Play a fair part of the items, each for as many more."""
    places = list(range(len(scene.items)))
    Random(part).shuffle(places)  # noqa: S311  # must be repeatable
    chosen = sorted(places[part::PARTS]) or places
    items = [scene.items[place] for place in chosen]
    plan = replace(
        scene.plan,
        zones=[one.zones for one in items],
        numbers=[one.number for one in items] if scene.plan.numbers else (),
        stands_for=scene.plan.stands_for * (len(scene.items) / len(items) if items else 1),
    )
    return play(plan, _outlook(scene, items, die=part + 1))


def _outlook(scene: Scene, items: Sequence[SampledItem], *, die: int) -> Outlook:
    if scene.sandbox is not None:
        speed, seed = scene.sandbox
        return SandboxOutlook(items, kind=scene.kind, speed=speed, seed=seed)
    if scene.observed:
        return DrawnOutlook(draw_observed(scene.observed), die=die)
    return DrawnOutlook(draw_assumed(scene.assumptions, kind=scene.kind), die=die)


def _range(values: Sequence[float]) -> Range:
    expected = values[0]
    return Range(
        low=min(*values, expected * (1 - LEAST_SPREAD)),
        expected=expected,
        high=max(*values, expected * (1 + LEAST_SPREAD)),
    )
