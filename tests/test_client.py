"""The Python client against the real application."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from batchyard.api.operator.routes import build_door
from batchyard.client import ApiError, Client
from batchyard.client.items import VOID_SECONDS
from batchyard.client.privacy import SEARCH_SECONDS
from batchyard.config import Config
from batchyard.encryption import Vault
from batchyard.models import BatchState, Kind, Phase, Team
from batchyard.operations import access, teams
from batchyard.operations.providers import add_provider
from batchyard.providers.base import Provider, Voided
from batchyard.store.db import Database
from tests import factories
from tests.cli.commands import running
from tests.serving import serving

TOKEN = "by_a-token-of-the-client"


async def no_more() -> None:
    """Do nothing more."""


class Flaky(httpx.AsyncBaseTransport):
    """Loses the answer to the first try of each request, after the server has acted."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.seen: set[tuple[str, str, str | None]] = set()
        self.losses = 0
        self.on_loss: Callable[[], Awaitable[None]] = no_more

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self.inner.handle_async_request(request)
        mark = (request.method, str(request.url), request.headers.get("idempotency-key"))
        if mark not in self.seen:
            self.seen.add(mark)
            self.losses += 1
            await answer.aread()
            await self.on_loss()
            raise httpx.ReadError("lost", request=request)
        return answer


class Slow(httpx.AsyncBaseTransport):
    """Answers after so many seconds, which do not pass, whoever waits so long."""

    def __init__(self, inner: httpx.AsyncBaseTransport, *, seconds: float) -> None:
        self.inner = inner
        self.seconds = seconds
        self.asked = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        answer = await self.inner.handle_async_request(request)
        if request.extensions["timeout"]["read"] < self.seconds:
            await answer.aread()
            raise httpx.ReadTimeout("too slow", request=request)
        return answer


@dataclass(frozen=True, kw_only=True)
class Booked:
    """A shipment, and the references that its provider was asked to take back."""

    item_id: UUID
    asked: list[str] = field(default_factory=list)


@pytest.fixture
async def team(db: Database) -> Team:
    return await factories.make_team(db)


@pytest.fixture
async def flaky(db: Database) -> Flaky:
    return Flaky(httpx.ASGITransport(app=build_door(Config(), db)))


@pytest.fixture
async def client(db: Database, team: Team, flaky: Flaky) -> AsyncIterator[Client]:
    token = await factories.make_token(db, team=team)
    async with Client("http://test", token, transport=flaky) as made:
        yield made


@pytest.fixture
async def admin(db: Database, team: Team) -> AsyncIterator[Client]:
    token = await access.create_token(db, team=team, name="admin", scopes=("admin",))
    async with serving(db) as url, Client(url, token) as made:
        yield made


async def test_batches_and_items_are_read_over_pages(
    client: Client, db: Database, team: Team
) -> None:
    made = {await factories.make_batch(db, team=team, reference="x") for _ in range(3)}
    (first, *_) = made
    await factories.make_items(db, team=team, batch_id=first, n=3)

    assert {batch.id async for batch in client.batches(limit=2)} == made
    items = [item async for item in client.items(batch_id=first, limit=2)]

    assert [item.position for item in items] == [1, 2, 3]
    assert (await client.batch(first)).counts == {"waiting": 3}
    assert (await client.item(items[0].id)).payload == {}


async def test_change_whose_answer_was_lost_happens_once(
    client: Client, db: Database, team: Team, flaky: Flaky
) -> None:
    batch_id = await factories.make_batch(db, team=team)
    await factories.make_items(db, team=team, batch_id=batch_id, n=3)

    assert (await client.steer(batch_id, "dispatch")).state == "queued"
    assert (await client.steer(batch_id, "pause")).state == "paused"

    assert flaky.losses == 2
    async with db.pool.connection() as conn:
        rows = await (await conn.execute("SELECT action FROM audit_log ORDER BY id")).fetchall()
    assert [row[0] for row in rows] == ["batch.dispatch", "batch.pause"]


async def failed_call(db: Database, team: Team) -> UUID:
    batch_id = await factories.make_batch(db, team=team, kind=Kind.CALL, state=BatchState.COMPLETED)
    [item_id] = await factories.make_items(
        db, team=team, batch_id=batch_id, phase=Phase.DONE, status="busy", number="+4520123456"
    )
    return item_id


async def test_correction_whose_answer_was_lost_happens_once(
    client: Client, db: Database, team: Team, flaky: Flaky
) -> None:
    item_id = await failed_call(db, team)

    shown = await client.correct_item(item_id, {"name": "B"})

    assert (flaky.losses, shown.attempt, shown.payload) == (1, 2, {"name": "B"})
    async with db.pool.connection() as conn:
        kept = await conn.execute("SELECT jsonb_array_length(corrections) FROM item_data")
        assert await kept.fetchall() == [(1,)]
        traced = await conn.execute("SELECT action FROM audit_log")
        assert await traced.fetchall() == [("item.correct",)]


async def test_correction_is_not_repeated_of_an_item_that_failed_anew_meanwhile(
    client: Client, db: Database, team: Team, flaky: Flaky
) -> None:
    async def fail() -> None:
        async with db.transaction() as conn:
            await conn.execute("UPDATE items SET phase = 'done', status = 'busy'")

    flaky.on_loss = fail
    item_id = await failed_call(db, team)

    assert (await client.correct_item(item_id, {"name": "B"})).attempt == 2

    assert flaky.losses == 1
    async with db.pool.connection() as conn:
        rows = await (await conn.execute("SELECT try, status FROM items")).fetchall()
    assert rows == [(2, "busy")]


async def test_list_whose_answer_was_lost_becomes_one_batch(
    client: Client, db: Database, team: Team, flaky: Flaky, tmp_path: Path
) -> None:
    agent_id = await factories.make_agent(db, team=team)
    file = tmp_path / "calls.csv"
    file.write_text("phone,name\n+4520123456,Ann\n12,Bo\n", encoding="utf-8")
    told = await client.rehearse(file, kind="call", agent_id=agent_id, reference=None)
    assert (told.upload.accepted, told.items, told.provider) == (1, 1, "sandbox")
    made = await client.create_batch(
        file, kind="call", agent_id=agent_id, mapping={"phone": "contact_number"}
    )
    assert (made.rows, made.accepted, made.refused) == (2, 1, 1)
    more = await client.add_rows(made.batch_id, [{"contact_number": "+4520123457"}])
    assert more.accepted == 1
    rest = await client.mend(made.batch_id, [{"contact_number": "+4520123458", "error_line": 3}])
    assert rest.accepted == 1
    assert (await client.rehearse_batch(made.batch_id)).items == 3
    assert (await client.batch(made.batch_id)).total == 3
    assert len([batch async for batch in client.batches()]) == 1
    assert flaky.losses > 5


async def test_unknown_items_are_resolved(client: Client, db: Database, team: Team) -> None:
    batch_id = await factories.make_batch(db, team=team)
    await factories.make_items(
        db, team=team, batch_id=batch_id, n=2, phase=Phase.UNKNOWN, status="unknown"
    )
    assert await client.resolve("done", batch_id=batch_id) == 2


async def test_team_its_people_and_its_rules_are_kept(db: Database, team: Team) -> None:
    token = await access.create_token(db, team=team, name="admin", scopes=("admin",))
    async with serving(db) as url, Client(url, token) as client:
        assert (await client.change_team(name="Spring", timezone="Europe/Copenhagen")).name == (
            "Spring"
        )
        text = await client.create_token("reports", scopes=["batches:read"])
        async with Client(url, text) as reader:
            assert (await reader.team()).scopes == ["batches:read"]
        [made] = [one for one in await client.tokens() if one.name == "reports"]
        await client.revoke_token(made.id)
        assert [one.revoked_at is None for one in await client.tokens() if one.id == made.id] == [
            False
        ]

        user_id = await client.create_user("ann@example.com", name="Ann")
        await client.set_password(user_id, "a long enough password")
        [user] = await client.users()
        assert (user.id, user.has_password, user.scopes) == (user_id, True, ["admin"])
        await client.remove_user(user_id)
        assert await client.users() == []

        name, header = "CRM/søndag 50 %", ["tlf", "navn"]
        await client.save_mapping("call", name, {"tlf": "contact_number"}, header=header)
        [saved] = await client.mappings(kind="call")
        assert (saved.name, saved.mapping) == (name, {"tlf": "contact_number"})
        assert (await client.propose_mapping("call", header)).saved_as == name
        await client.remove_mapping("call", name)
        assert await client.mappings() == []

        assert (await client.change_rules(countries=["DK"], days=[1, 2])).days == [1, 2]
        assert (await client.rules()).countries == ["DK"]


ODD_NAMES = ("50 % of what?#1", "a&b=c+d;e", "%2E%2E", "..x", "...", "/crm//2026/", "名前 ø\\'\"")


async def test_mapping_is_found_by_whatever_name_it_was_kept_under(admin: Client) -> None:
    for name in ODD_NAMES:
        await admin.save_mapping("call", name, {"tlf": "contact_number"}, header=[name])
        assert (await admin.propose_mapping("call", [name])).saved_as == name
    assert {one.name for one in await admin.mappings()} == set(ODD_NAMES)
    for name in ODD_NAMES:
        await admin.remove_mapping("call", name)
    assert await admin.mappings() == []


@pytest.mark.parametrize("name", [".", "..", "crm/../2026", "./crm"])
async def test_mapping_with_a_step_for_a_name_is_refused(admin: Client, name: str) -> None:
    with pytest.raises(ApiError) as refused:
        await admin.save_mapping("call", name, {"tlf": "contact_number"})
    told = f"A mapping cannot be called {name!r}"
    assert (refused.value.status, told in str(refused.value)) == (422, True)
    assert "'field': 'name'" in str(refused.value.problem["errors"])
    assert await admin.mappings() == []
    with pytest.raises(ApiError, match="There is no mapping"):
        await admin.remove_mapping("call", name)


@pytest.mark.parametrize("text", ["..", "?", "#1", "1 %"])
async def test_what_is_no_number_is_looked_for_as_it_is(admin: Client, text: str) -> None:
    with pytest.raises(ApiError) as refused:
        await admin.allow_number(text)
    assert refused.value.status == 422
    with pytest.raises(ApiError) as missing:
        await admin.remove_number(text)
    assert f"The team has no number {text}." in str(missing.value)


async def test_what_is_kept_of_a_person_is_told_and_erased(db: Database, team: Team) -> None:
    token = await access.create_token(db, team=team, name="admin", scopes=("admin",))
    async with serving(db) as url, Client(url, token) as client:
        await client.block_number("+4520123456", reason="asked")
        found = await client.export_person(number="+45 20 12 34 56")
        assert [row["reason"] for row in found["do_not_contact"]] == ["asked"]
        erased = await client.erase_person(number="+4520123456")
        assert (erased.items, erased.others["do_not_contact"]) == (0, 1)
        set_ = await client.set_retention(items_days=30, idempotency_days=2)
        assert (set_["items_days"], set_["idempotency_days"]) == (30, 2)
        assert (await client.retention())["transcripts_days"] == 90
        changed = await client.change_retention(items_days=None, transcripts_days=7)
        assert (changed["items_days"], changed["transcripts_days"]) == (365, 7)
        assert changed["idempotency_days"] == 2


async def test_search_for_a_person_may_take_long_and_is_not_begun_again(
    db: Database, team: Team
) -> None:
    token = await access.create_token(db, team=team, name="admin", scopes=("admin",))
    slow = Slow(httpx.ASGITransport(app=build_door(Config(), db)), seconds=SEARCH_SECONDS)
    async with Client("http://test", token, transport=slow) as client:
        await client.export_person(number="+4520123456")
        await client.erase_person(number="+4520123456")
        assert slow.asked == 2
        slow.seconds += 1
        with pytest.raises(httpx.ReadTimeout):
            await client.export_person(number="+4520123456")
        with pytest.raises(httpx.ReadTimeout):
            await client.erase_person(number="+4520123456")
    assert slow.asked == 4


@pytest.fixture
async def booked(db: Database, team: Team, monkeypatch: pytest.MonkeyPatch) -> Booked:
    """Lend a booked shipment whose provider takes it back without telling the carrier."""
    await add_provider(
        db,
        Vault(None),
        name="carriers",
        kind="sandbox",
        settings={},
        secret=None,
        allow_private=False,
    )
    batch_id = await factories.make_batch(db, team=team, state=BatchState.COMPLETED)
    [item_id] = await factories.make_items(
        db, team=team, batch_id=batch_id, phase=Phase.DONE, status="booked"
    )
    async with db.transaction() as conn:
        await conn.execute(
            "UPDATE items SET provider_id = (SELECT id FROM providers WHERE name = 'carriers')"
        )
        await conn.execute("UPDATE item_data SET provider_reference = 'shp_1'")
    booked = Booked(item_id=item_id)

    async def take_back(_: Provider, reference: str) -> Voided:
        booked.asked.append(reference)
        return Voided(sentence="Cancel it with the carrier too.", is_carrier_told=False)

    monkeypatch.setattr(Provider, "void", take_back)
    return booked


async def test_void_whose_answer_was_lost_still_tells_of_the_carrier(
    client: Client, flaky: Flaky, booked: Booked
) -> None:
    for _ in range(2):
        voided = await client.void_item(booked.item_id)
        assert voided.is_carrier_told is False
        assert voided.sentence == "Cancel it with the carrier too."
    assert (flaky.losses, booked.asked) == (2, ["shp_1"])


async def test_void_may_take_long_and_is_not_begun_again(
    db: Database, team: Team, booked: Booked
) -> None:
    token = await factories.make_token(db, team=team)
    slow = Slow(httpx.ASGITransport(app=build_door(Config(), db)), seconds=VOID_SECONDS)
    async with Client("http://test", token, transport=slow) as client:
        assert (await client.void_item(booked.item_id)).is_carrier_told is False
        slow.seconds += 1
        with pytest.raises(httpx.ReadTimeout):
            await client.void_item(booked.item_id)
    assert (slow.asked, booked.asked) == (2, ["shp_1"])


async def test_note_of_a_void_without_its_sentence_still_tells_of_the_carrier(
    client: Client, db: Database, booked: Booked
) -> None:
    async with db.transaction() as conn:
        await conn.execute(
            'UPDATE item_data SET result = \'{"voided": {"at": "then", "is_carrier_told": false}}\''
        )
    voided = await client.void_item(booked.item_id)
    assert voided.is_carrier_told is False
    assert "cancel it there too" in voided.sentence
    assert booked.asked == []


async def test_token_whose_answer_was_lost_is_not_made_again(
    client: Client, db: Database, team: Team
) -> None:
    with pytest.raises(httpx.ReadError):
        await client.create_token("reports")
    names = [one.name for one in await access.list_tokens(db, team=team)]
    assert names.count("reports") == 1


async def test_refusal_says_why(client: Client, db: Database, team: Team) -> None:
    batch_id = await factories.make_batch(db, team=team)
    with pytest.raises(ApiError, match="A batch that is open cannot be resumed") as refused:
        await client.steer(batch_id, "resume")
    assert refused.value.status == 409


@pytest.mark.acceptance
async def test_events_go_on_over_a_restart_of_the_server(
    db: Database, database_url: str, tmp_path: Path, port: int
) -> None:
    command = ("serve", "--port", str(port))
    settings = {"BATCHYARD_DATABASE_URL": database_url, "BATCHYARD_BOOTSTRAP_TOKEN": TOKEN}
    log = tmp_path / "log"
    team = await teams.ensure_team(db, slug="default", name="Default")
    async with (
        asyncio.timeout(90),
        Client(f"http://127.0.0.1:{port}", TOKEN) as client,
        aclosing(client.events(after="0-0")) as events,  # type: ignore[type-var]
    ):
        with running(*command, log=log, **settings):
            following = asyncio.ensure_future(anext(events))
            first = await factories.make_batch(db, team=team)
            assert (await following).batch_id == first
        second = await factories.make_batch(db, team=team)
        with running(*command, log=log, **settings):
            event = await anext(events)
    assert (event.type, event.batch_id) == ("batch.created", second)
