"""An upload under a team's rules: refused rows, and the zones of the others."""

from datetime import timedelta
from uuid import uuid4

import pytest

from batchyard.contact_rules import TeamRules
from batchyard.intake.zones import list_zone_sets
from batchyard.models import RetryPolicy, Team
from batchyard.operations import contacts
from batchyard.operations.contact_checks import open_check
from batchyard.operations.imports import CallSettings, import_calls
from batchyard.store import attempts, windows
from batchyard.store.attempts import Contact
from batchyard.store.db import Database
from batchyard.windows import day_start
from tests.factories import make_team

DANE, NEW_YORKER, SATELLITE, PREMIUM = (
    "+4520123456",
    "+12125550123",
    "+870773111632",
    "+4590123456",
)


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


async def upload(db: Database, *, team: Team, numbers: list[str]) -> None:
    content = "\n".join(["contact_number", *numbers, ""]).encode()
    async with import_calls(db, team=team, refuses_unassigned=False) as started:
        await started.feed(content)
        await started.finish_file()
        await started.open(
            CallSettings(
                agent_id=uuid4(),
                creates_agent=True,
                file_name=None,
                retry_policy=RetryPolicy(),
            )
        )


async def rows(db: Database, statement: str) -> list[tuple[object, ...]]:
    async with db.pool.connection() as conn:
        return await (await conn.execute(statement.encode())).fetchall()


REFUSED = "SELECT line, code FROM rejected_rows ORDER BY line"
CALLED = "SELECT number FROM item_data ORDER BY position"


async def test_zones_of_each_number_are_kept(db: Database, team: Team) -> None:
    await upload(db, team=team, numbers=[DANE, NEW_YORKER, SATELLITE])
    kept = await rows(
        db,
        "SELECT d.number, z.zones FROM items i JOIN item_data d ON d.item_id = i.id"
        " LEFT JOIN zone_sets z ON z.id = i.zone_set ORDER BY d.position",
    )
    assert kept == [
        (DANE, ["Europe/Copenhagen"]),
        (NEW_YORKER, ["America/New_York"]),
        (SATELLITE, None),
    ]


async def test_sets_of_zones_get_their_ids_once(db: Database, team: Team) -> None:
    first = await open_check(db, team=team)
    again = await open_check(db, team=await make_team(db))
    assert first.zone_sets == again.zone_sets
    assert sorted(first.zone_sets.values()) == list(range(1, len(list_zone_sets()) + 1))


async def test_set_of_a_later_edition_is_added_to_those_known(db: Database, team: Team) -> None:
    known = (await open_check(db, team=team)).zone_sets
    async with db.transaction() as conn:
        ids = await windows.ensure_zone_sets(conn, [*known, ("Arctic/Santa", "Europe/Oslo")])
    assert ids == {**known, ("Arctic/Santa", "Europe/Oslo"): len(known) + 1}


async def test_listed_number_is_refused(db: Database, team: Team) -> None:
    now = db.clock()
    await contacts.add_do_not_contact(db, team=team, number=DANE)
    await contacts.add_do_not_contact(
        db, team=team, number=NEW_YORKER, until=now + timedelta(hours=1)
    )
    await contacts.add_do_not_contact(db, team=await make_team(db), number=SATELLITE)
    await upload(db, team=team, numbers=["+45 2012 3456", NEW_YORKER, SATELLITE, DANE])
    assert await rows(db, REFUSED) == [
        (2, "do_not_contact"),
        (3, "do_not_contact"),
        (5, "do_not_contact"),
    ]
    assert await rows(db, CALLED) == [(SATELLITE,)]
    assert await rows(db, "SELECT total_rows, refused_rows FROM batches") == [(4, 3)]


async def test_number_of_a_country_not_allowed_is_refused(db: Database, team: Team) -> None:
    rules = TeamRules(countries=frozenset({"DK"}), refuses_premium=True)
    await contacts.set_rules(db, team=team, change=lambda _: rules)
    await upload(db, team=team, numbers=[DANE, NEW_YORKER, SATELLITE, PREMIUM])
    assert await rows(db, REFUSED) == [
        (3, "country_not_allowed"),
        (4, "country_not_allowed"),
        (5, "premium_rate"),
    ]


async def test_number_called_often_enough_is_refused(db: Database, team: Team) -> None:
    rules = TeamRules(attempts_per_day=1)
    await contacts.set_rules(db, team=team, change=lambda _: rules)
    now = db.clock()
    today = day_start(["Europe/Copenhagen"], now)
    async with db.transaction() as conn:
        for number, sent_at in ((DANE, today), (NEW_YORKER, now - timedelta(days=2))):
            contact = Contact(
                item_id=uuid4(), attempt=1, team_id=team.id, number=number, day_at=now, week_at=now
            )
            await attempts.add(conn, [contact], now=sent_at)
    await upload(db, team=team, numbers=[DANE, NEW_YORKER])
    assert await rows(db, REFUSED) == [(2, "attempts_reached")]


async def test_reason_of_a_refused_row_says_what_to_do(db: Database, team: Team) -> None:
    await contacts.add_do_not_contact(db, team=team, number=DANE)
    await upload(db, team=team, numbers=[DANE, NEW_YORKER])
    ((reason,),) = await rows(db, "SELECT reason FROM rejected_rows")
    assert "do-not-contact" in str(reason)
    assert "batchyard dnc" in str(reason)
