"""What holds a rehearsed batch is what would hold it: also what nobody has set or said."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from batchyard.config import Config
from batchyard.contact_rules import TeamRules
from batchyard.models import Kind, Rate, Team
from batchyard.operations import contacts
from batchyard.operations.limits import set_limit
from batchyard.operations.outlooks import Assumptions, SampledItem
from batchyard.operations.plays import BRAKES, SLOTS_TAKEN, play_scene
from batchyard.operations.scenes import UNUSABLE, RehearsalSettings, SetScene, set_scene
from batchyard.rehearsal import SLOTS, Ceiling
from batchyard.store import providers, workers
from batchyard.store.db import Database
from tests import plug_ins
from tests.factories import make_team
from tests.providers.fakes.telnyx_legs import CONNECTION, PUBLIC_KEY
from tests.providers.fakes.twilio_calls import ACCOUNT

KARRIO = {"url": "https://karrio.example.com"}
TWILIO = {"account_sid": ACCOUNT, "say": "Hello."}
TELNYX = {"connection_id": CONNECTION, "public_key": PUBLIC_KEY, "say": "Hello."}


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


async def route(
    db: Database, *, team: Team, kind: Kind, provider: str, settings: Mapping[str, object]
) -> None:
    """Let the items of a team go to a provider of this kind."""
    async with db.transaction() as conn:
        provider_id = await providers.insert(
            conn,
            name="own",
            kind=provider,
            settings=settings,
            secret=None,
            allow_private=False,
            now=db.clock(),
        )
        assert provider_id is not None
        await providers.set_route(
            conn, team_id=team.id, kind=kind, agent_id=None, provider_id=provider_id
        )


async def set_up(
    db: Database,
    *,
    team: Team,
    kind: Kind,
    config: Config | None = None,
    count: int = 3,
    settings: RehearsalSettings | None = None,
) -> SetScene:
    items = [SampledItem(number=None, payload=b"{}", zones=())] * count
    return await set_scene(
        db,
        team=team,
        kind=kind,
        items=items,
        total=len(items),
        settings=settings or RehearsalSettings(),
        config=config or Config(),
    )


def ceiling_of(found: SetScene, scope: str) -> Ceiling:
    return next(one for one in found.scene.plan.ceilings if one.key == scope)


@pytest.mark.parametrize(
    "provider,kind,settings,cap,rate",
    [
        ("karrio", Kind.SHIPMENT, KARRIO, 4, None),
        ("karrio", Kind.SHIPMENT, KARRIO | {"concurrency": 9}, 9, None),
        ("http", Kind.CALL, {"url": "https://voice.example.com"}, 40, None),
        ("twilio", Kind.CALL, TWILIO, 100, Rate(count=54, seconds=60)),
        ("telnyx", Kind.CALL, TELNYX, 10, Rate(count=1620, seconds=60)),
    ],
)
async def test_provider_that_nobody_limited_is_held_by_its_own_limits(
    db: Database,
    team: Team,
    *,
    provider: str,
    kind: Kind,
    settings: Mapping[str, object],
    cap: int,
    rate: Rate | None,
) -> None:
    await route(db, team=team, kind=kind, provider=provider, settings=settings)
    found = ceiling_of(await set_up(db, team=team, kind=kind), "provider")
    rates = [Rate(count=one.count, seconds=one.seconds) for one in found.rates]
    assert (found.cap, rates) == (cap, [] if rate is None else [rate])


@pytest.mark.parametrize(
    "provider,cap,rates", [("steady", 3, [Rate(count=7, seconds=1)]), ("free", None, [])]
)
async def test_plug_in_is_held_by_the_limits_of_its_class(
    db: Database,
    team: Team,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    provider: str,
    cap: int | None,
    rates: Sequence[Rate],
) -> None:
    plug_ins.install(tmp_path, monkeypatch)
    await route(db, team=team, kind=Kind.CALL, provider=provider, settings={})
    found = ceiling_of(await set_up(db, team=team, kind=Kind.CALL), "provider")
    assert found.cap == cap
    assert [Rate(count=one.count, seconds=one.seconds) for one in found.rates] == rates


async def test_limits_that_somebody_set_take_the_place_of_a_providers_own(
    db: Database, team: Team
) -> None:
    await route(db, team=team, kind=Kind.CALL, provider="twilio", settings=TWILIO)
    rate = Rate(count=7, seconds=1)
    await set_limit(db, scope="provider:own", concurrency=3, rates=[rate])
    found = ceiling_of(await set_up(db, team=team, kind=Kind.CALL), "provider")
    assert found.cap == 3
    assert [(one.count, one.seconds) for one in found.rates] == [(rate.count, rate.seconds)]


async def test_provider_with_wrong_settings_is_a_remark(db: Database, team: Team) -> None:
    await route(db, team=team, kind=Kind.CALL, provider="twilio", settings={"say": "Hello."})
    assert UNUSABLE in (await set_up(db, team=team, kind=Kind.CALL)).remarks


async def test_attempts_are_counted_where_the_team_limits_them(db: Database, team: Team) -> None:
    plan = (await set_up(db, team=team, kind=Kind.CALL)).scene.plan
    assert (list(plan.numbers), plan.attempts_per_day) == ([], None)
    rules = TeamRules(attempts_per_day=1)
    await contacts.set_rules(db, team=team, change=lambda _: rules)
    plan = (await set_up(db, team=team, kind=Kind.CALL)).scene.plan
    assert (list(plan.numbers), plan.attempts_per_day) == ([None] * 3, 1)


async def test_bookings_are_held_by_the_slots_of_all_workers(db: Database, team: Team) -> None:
    config = Config(worker_slots=3)
    await route(db, team=team, kind=Kind.SHIPMENT, provider="karrio", settings=KARRIO)
    played = play_scene((await set_up(db, team=team, kind=Kind.SHIPMENT, config=config)).scene)
    assert (played.limited_by, played.remarks) == (None, [])
    played = play_scene(
        (await set_up(db, team=team, kind=Kind.SHIPMENT, config=config, count=4)).scene
    )
    assert (played.limited_by, played.remarks) == ("earlier_items", [SLOTS_TAKEN])
    async with db.transaction() as conn:
        for pid in range(2):
            await workers.register(conn, host="here", pid=pid, now=db.clock())
    found = await set_up(db, team=team, kind=Kind.SHIPMENT, config=config)
    assert ceiling_of(found, SLOTS).cap == 6


async def test_what_is_taken_at_once_needs_no_slot(db: Database, team: Team) -> None:
    await route(db, team=team, kind=Kind.CALL, provider="twilio", settings=TWILIO)
    for kind in Kind:
        found = await set_up(db, team=team, kind=kind)
        assert SLOTS not in {one.key for one in found.scene.plan.ceilings}


@pytest.mark.parametrize(
    "failure_rate,count,has_brake,share,is_told",
    [
        (0.9, 40, True, 0.5, True),
        (0.9, 40, False, 0.5, False),
        (0.9, 40, True, 1, False),
        (0.9, 19, True, 0.5, False),
        (0.2, 40, True, 0.5, False),
    ],
)
async def test_batch_that_would_pause_itself_is_a_remark(
    db: Database,
    team: Team,
    *,
    failure_rate: float,
    count: int,
    has_brake: bool,
    share: float,
    is_told: bool,
) -> None:
    await route(db, team=team, kind=Kind.SHIPMENT, provider="karrio", settings=KARRIO)
    assumed = Assumptions(failure_rate=failure_rate)
    found = await set_up(
        db,
        team=team,
        kind=Kind.SHIPMENT,
        config=Config(brake_share=share),
        count=count,
        settings=RehearsalSettings(has_brake=has_brake, assumptions=assumed),
    )
    assert (BRAKES in play_scene(found.scene).remarks) is is_told
