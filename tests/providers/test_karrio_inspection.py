"""What `provider test` says of a Karrio server, and which services it finds there."""

import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from batchyard.encryption import Vault
from batchyard.errors import ConfigError, ProviderError
from batchyard.models import Kind, Team
from batchyard.operations import providers, services
from batchyard.operations.provider_changes import change_provider
from batchyard.providers.base import Service
from batchyard.providers.karrio import KarrioProvider
from batchyard.store.db import Database
from batchyard.testing import Arrived, HttpServer, Line
from tests.cli.commands import call
from tests.cli.stored import KEY, read, write
from tests.factories import make_team
from tests.providers.fakes.karrio_state import LIVE_KEY, TEST_KEY
from tests.providers.karrio_judge import KarrioJudge, faking
from tests.providers.karrio_requests import open_karrio

OFFERED = [
    ("post-nord", "standard_service", "Post N", "Standard service"),
    ("car_2", "ups_standard", "UPS", "Ups standard"),
    ("car_2", "ups_express_saver", "UPS", "Ups express saver"),
    ("car_3", "ups_standard", "UPS, other", "Ups standard"),
    ("car_3", "ups_express_saver", "UPS, other", "Ups express saver"),
    ("ups-few", "ups_standard", "UPS, few", "Ups standard"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[KarrioJudge]:
    with faking() as judge:
        yield judge


@pytest.fixture
def judge(server: KarrioJudge) -> Iterator[KarrioJudge]:
    server.forget()
    yield server
    assert server.books()["violations"] == []
    assert server.purchases() == {}


@pytest.fixture
async def karrio(judge: KarrioJudge) -> AsyncIterator[KarrioProvider]:
    provider = open_karrio(judge.url)
    yield provider
    await provider.close()


@pytest.fixture
async def team(db: Database, judge: KarrioJudge) -> Team:
    """A team whose shipments go to the fake."""
    team = await make_team(db)
    await add(db, judge.url)
    await providers.set_route(db, team=team, kind=Kind.SHIPMENT, agent_id=None, provider="karrio")
    return team


async def add(db: Database, url: str, *, key: str = TEST_KEY, **settings: object) -> list[str]:
    remarks = await providers.add_provider(
        db,
        Vault(KEY),
        name="karrio",
        kind="karrio",
        settings={"url": url, **settings},
        secret=key,
        allow_private=True,
    )
    return list(remarks)


async def offered(db: Database, team: Team) -> list[tuple[str, str, str | None, str | None]]:
    declared = await services.list_declared(db, team=team)
    assert declared is not None
    return [(one.carrier, one.service, one.carrier_name, one.service_name) for one in declared]


async def test_check_tells_mode_version_and_connections(karrio: KarrioProvider) -> None:
    remarks = await karrio.check()

    assert remarks[0] == "TEST mode: nothing real is bought."
    assert remarks[1] == "Karrio 2026.1.32; the version that was tested."
    assert "post-nord (generic)" in remarks[2]
    assert "watcher" not in remarks[2]
    assert remarks[3] == ("Cancelling in Karrio does not tell the carrier of post-nord (generic).")
    assert remarks[4:] == ["Clock: no difference that matters."]


async def test_check_says_how_far_the_clocks_are_apart(judge: KarrioJudge) -> None:
    karrio = open_karrio(judge.url, ahead=timedelta(minutes=5))

    remarks = await karrio.check()

    await karrio.close()
    assert re.fullmatch(
        r"Clock: theirs is (299|300|301) s behind ours\. Set this machine's clock\.", remarks[-1]
    )


async def test_check_says_loudly_that_a_key_is_live(judge: KarrioJudge) -> None:
    karrio = open_karrio(judge.url, key=LIVE_KEY, mode="live")

    remarks = await karrio.check()

    await karrio.close()
    assert remarks[0] == "LIVE mode: every booking buys a real label."


@pytest.mark.parametrize("key,mode,word", [(LIVE_KEY, "test", "live"), (TEST_KEY, "live", "test")])
async def test_key_of_the_other_mode_is_a_fault(
    judge: KarrioJudge, key: str, mode: str, word: str
) -> None:
    karrio = open_karrio(judge.url, key=key, mode=mode)

    with pytest.raises(ProviderError, match=f"--set mode={word}") as fault:
        await karrio.check()

    await karrio.close()
    assert fault.value.permanent


async def test_wrong_key_is_a_fault(judge: KarrioJudge) -> None:
    karrio = open_karrio(judge.url, key="key_00000000000000000000000000000000")

    with pytest.raises(ProviderError, match="refuses the API key: Given token not valid") as fault:
        await karrio.check()

    await karrio.close()
    assert fault.value.permanent


async def test_changed_request_id_is_remarked(judge: KarrioJudge, karrio: KarrioProvider) -> None:
    judge.mangle_request_ids()

    assert any("X-Request-ID" in remark for remark in await karrio.check())


@pytest.mark.parametrize("body", [b"{}", b"[]", b"<html>Welcome</html>"])
async def test_what_is_no_karrio_server_is_a_fault(body: bytes) -> None:
    async def welcome(_: Arrived, line: Line) -> None:
        await line.reply(200, body)

    async with HttpServer(welcome) as somebody:
        karrio = open_karrio(somebody.url)
        with pytest.raises(ProviderError, match=r"no Karrio|as Karrio does"):
            await karrio.check()
        await karrio.close()


@pytest.mark.parametrize("secret", [None, "", "two words", "æøå-æøå-æøå"])
async def test_key_that_is_none_is_a_fault_of_the_settings(
    db: Database, judge: KarrioJudge, secret: str | None
) -> None:
    with pytest.raises(ConfigError, match="API key"):
        await providers.add_provider(
            db,
            Vault(KEY),
            name="karrio",
            kind="karrio",
            settings={"url": judge.url},
            secret=secret,
            allow_private=True,
        )


@pytest.mark.parametrize(
    "setting,words",
    [
        ({"url": "ftp://x"}, "url: .* must begin with http"),
        ({"mode": "production"}, "mode: Input should be 'test' or 'live'"),
        ({"label": "gif"}, "label: Input should be 'pdf' or 'zpl'"),
        ({"policy": "repeatable"}, "policy: Extra inputs"),
    ],
)
async def test_wrong_setting_is_named(
    db: Database, judge: KarrioJudge, setting: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        await add(db, **{"url": judge.url, **setting})  # type: ignore[arg-type]


async def test_team_is_offered_the_services_of_the_connections(db: Database, team: Team) -> None:
    assert await offered(db, team) == OFFERED


async def test_services_are_asked_for_again_and_a_fault_keeps_what_is_known(
    db: Database, team: Team, judge: KarrioJudge
) -> None:
    await write(db, "UPDATE providers SET services = '[]' WHERE name = 'karrio'")
    await services.refresh_stale(db, Vault(KEY))
    assert await offered(db, team) == []

    await write(db, "UPDATE providers SET services_at = now() - interval '2 hours'")
    await services.refresh_stale(db, Vault(KEY))
    assert await offered(db, team) == OFFERED

    judge.spoil("other", "unreached")
    await write(db, "UPDATE providers SET services_at = now() - interval '2 hours'")
    await services.refresh_stale(db, Vault(KEY))
    assert await offered(db, team) == OFFERED
    assert await read(
        db, "SELECT services_at > now() - interval '1 hour' FROM providers WHERE name = 'karrio'"
    )


async def test_listed_services_are_not_asked_for(db: Database, judge: KarrioJudge) -> None:
    await add(db, judge.url, services=["post-nord/standard_service"])

    assert await read(db, "SELECT services FROM providers WHERE name = 'karrio'") is None
    declared = KarrioProvider.services(
        {"url": judge.url, "services": ["post-nord/standard_service"]}
    )
    assert declared == [Service(carrier="post-nord", service="standard_service")]


@pytest.mark.parametrize("is_away", [False, True])
async def test_services_that_are_listed_later_are_all_that_is_offered(
    db: Database, team: Team, judge: KarrioJudge, *, is_away: bool
) -> None:
    if is_away:
        judge.spoil("other", *["unreached"] * 4)
    await change_provider(
        db, Vault(KEY), name="karrio", settings={"services": ["post-nord/standard_service"]}
    )
    listed = [("post-nord", "standard_service", None, None)]
    assert await offered(db, team) == listed

    await write(db, "UPDATE providers SET services_at = now() - interval '2 hours'")
    await services.refresh_stale(db, Vault(KEY))
    assert await offered(db, team) == listed

    judge.forget()
    await change_provider(db, Vault(KEY), name="karrio", settings={"services": None})
    assert await offered(db, team) == OFFERED


async def test_services_that_were_listed_before_are_no_longer_hidden_by_what_was_asked(
    db: Database, team: Team
) -> None:
    await write(
        db,
        "UPDATE providers SET services_at = now() - interval '2 hours', settings = settings"
        " || '{\"services\": [\"post-nord/standard_service\"]}' WHERE name = 'karrio'",
    )
    await services.refresh_stale(db, Vault(KEY))
    assert await offered(db, team) == [("post-nord", "standard_service", None, None)]


async def test_change_that_reaches_nobody_keeps_the_services_that_are_known(
    db: Database, team: Team, judge: KarrioJudge
) -> None:
    judge.spoil("other", *["unreached"] * 4)
    changed = await change_provider(
        db, Vault(KEY), name="karrio", settings={"read_timeout_seconds": 9}
    )
    judge.forget()
    assert "stored all the same" in changed.remarks[0]
    assert await offered(db, team) == OFFERED


async def test_nothing_is_offered_until_the_server_was_asked(db: Database) -> None:
    team = await make_team(db)
    remarks = await add(db, "http://127.0.0.1:9")
    await providers.set_route(db, team=team, kind=Kind.SHIPMENT, agent_id=None, provider="karrio")

    assert "stored all the same" in remarks[0]
    assert await services.list_declared(db, team=team) == ()


async def test_command_tests_a_provider_and_stores_its_services(
    db: Database, team: Team, database_url: str
) -> None:
    await write(db, "UPDATE providers SET services = '[]' WHERE name = 'karrio'")

    result = call(
        *("provider", "test", "karrio"),
        BATCHYARD_DATABASE_URL=database_url,
        BATCHYARD_SECRET_KEY=KEY,
    )

    assert result.returncode == 0, result.stderr
    assert "Note: TEST mode: nothing real is bought." in result.stderr
    assert await offered(db, team) == OFFERED
