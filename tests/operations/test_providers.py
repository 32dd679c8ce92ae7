import re
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from batchyard.encryption import Vault
from batchyard.errors import BatchyardError, ConfigError, Conflict, InvalidRequest, NotFound
from batchyard.models import Kind, Policy, Rate
from batchyard.operations import providers, services
from batchyard.operations.providers import ListedProvider
from batchyard.store import providers as store
from batchyard.store.db import Database
from tests import plug_ins
from tests.cli.stored import KEY, add_http, closed_url, read
from tests.factories import make_agent, make_team

VAULT = Vault(KEY)


async def listed(db: Database, name: str) -> ListedProvider:
    found = await providers.list_providers(db, VAULT)
    return next(one for one in found if one.row.name == name)


async def test_provider_is_listed_with_its_promise_and_limits(db: Database) -> None:
    await providers.add_provider(
        db,
        VAULT,
        name="carrier",
        kind="http",
        settings={"url": closed_url(), "policy": "repeatable", "key_ttl_seconds": 3600},
        secret=None,
        allow_private=True,
        concurrency=3,
        rate=Rate(count=100, seconds=60),
    )

    one = await listed(db, "carrier")

    assert one.promise is not None
    assert one.promise.policy is Policy.REPEATABLE
    assert one.promise.key_ttl == timedelta(hours=1)
    assert (one.ceiling.concurrency, one.ceiling.rates) == (3, {60: 100})
    assert one.fault is None


async def test_plug_in_that_breaks_is_listed_with_the_reason(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_ins.install(tmp_path, monkeypatch)
    await add_plug_ins(db, *plug_ins.BROKEN, "clinging")

    told = {one.row.name: one for one in await providers.list_providers(db, VAULT)}

    for kind, reason in (
        ("gone", "ModuleNotFoundError: No module named 'plug_ins_of_a_test_that_are_gone'"),
        ("moody", r"KeyError in .*/plug_ins_of_a_test\.py, line \d+"),
        ("vague", r"KeyError in .*/plug_ins_of_a_test\.py, line \d+"),
        ("number", "is no provider"),
    ):
        assert told[kind].promise is None
        assert re.search(reason, told[kind].fault or ""), told[kind].fault
        assert "sesame" not in (told[kind].fault or "")
    assert told["clinging"].promise is not None
    assert told["sandbox"].promise is not None
    kinds = {one.name for one in providers.list_kinds()}
    assert kinds & {"sandbox", "http", "clinging", "gone", "number"} == {
        "sandbox",
        "http",
        "clinging",
    }


async def test_plug_in_that_breaks_when_asked_what_it_books_lets_others_be_asked(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_ins.install(tmp_path, monkeypatch)
    await add_plug_ins(db, "mute", "clinging")

    with capture_logs() as logs:
        await services.refresh_stale(db, VAULT)

    unread = [one for one in logs if one["event"] == "services.unread"]
    assert [(one["provider"], one["error"]) for one in unread] == [("mute", "KeyError")]
    asked = "SELECT array_agg(name ORDER BY name) FROM providers WHERE services_at IS NOT NULL"
    assert await read(db, asked) == ["clinging", "mute"]


async def add_plug_ins(db: Database, *kinds: str) -> None:
    """Store a provider of each kind, of the same name."""
    async with db.transaction() as conn:
        for kind in kinds:
            await store.insert(
                conn,
                name=kind,
                kind=kind,
                settings={},
                secret=VAULT.lock("sesame"),
                allow_private=False,
                now=db.clock(),
            )


async def test_burst_is_a_tenth_of_what_a_second_allows_and_at_least_one(db: Database) -> None:
    for name, rate in (("fast", Rate(count=50, seconds=1)), ("slow", Rate(count=5, seconds=60))):
        await providers.add_provider(
            db,
            VAULT,
            name=name,
            kind="http",
            settings={"url": closed_url()},
            secret=None,
            allow_private=True,
            rate=rate,
        )

    assert await read(db, "SELECT array_agg(burst ORDER BY count DESC) FROM rates") == [5, 1]


async def test_provider_that_is_refused_leaves_nothing_behind(db: Database) -> None:
    def add(name: str, kind: str = "http", secret: str | None = None, **settings: object):  # type: ignore[no-untyped-def]  # noqa: ANN202
        return providers.add_provider(
            db,
            Vault(None),
            name=name,
            kind=kind,
            settings=settings,
            secret=secret,
            allow_private=True,
        )

    with pytest.raises(InvalidRequest):
        await add("Carrier", url=closed_url())
    with pytest.raises(ConfigError, match=r"Known: .*http.*sandbox"):
        await add("carrier", kind="pigeon")
    with pytest.raises(ConfigError, match="url"):
        await add("carrier")
    with pytest.raises(ConfigError, match="BATCHYARD_SECRET_KEY"):
        await add("carrier", url=closed_url(), secret="c2VjcmV0" * 5)
    with pytest.raises(Conflict):
        await add("sandbox", url=closed_url())

    assert await read(db, "SELECT count(*) FROM providers") == 1


async def test_provider_of_a_kind_that_is_gone_is_listed_with_the_reason(db: Database) -> None:
    await add_http(db, "carrier")
    async with db.transaction() as conn:
        await conn.execute("UPDATE providers SET kind = 'pigeon' WHERE name = 'carrier'")

    one = await listed(db, "carrier")

    assert one.promise is None
    assert one.fault is not None
    assert "'pigeon'" in one.fault


async def test_check_raises_what_is_wrong(db: Database) -> None:
    await add_http(db, "carrier")

    with pytest.raises(BatchyardError, match="cannot be reached"):
        await providers.check_provider(db, VAULT, name="carrier")
    with pytest.raises(NotFound):
        await providers.check_provider(db, VAULT, name="nobody")


async def test_provider_is_removed_once_no_route_leads_to_it(db: Database) -> None:
    await add_http(db, "carrier")
    team = await make_team(db)
    agent = await make_agent(db, team=team)
    await providers.set_route(db, team=team, kind=Kind.CALL, agent_id=agent, provider="carrier")

    with pytest.raises(Conflict):
        await providers.remove_provider(db, name="carrier")
    await providers.set_route(db, team=team, kind=Kind.CALL, agent_id=agent, provider="sandbox")
    await providers.remove_provider(db, name="carrier")

    with pytest.raises(NotFound):
        await providers.set_route(db, team=team, kind=Kind.CALL, agent_id=None, provider="carrier")
    (route,) = await providers.list_routes(db)
    assert (route.team, route.kind, route.agent_id, route.provider) == (
        team.slug,
        "call",
        agent,
        "sandbox",
    )
