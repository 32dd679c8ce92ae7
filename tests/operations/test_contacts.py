"""A team's do-not-contact list and its rules."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from batchyard.contact_rules import TeamRules
from batchyard.errors import InvalidRequest, NotFound
from batchyard.models import Kind, Team
from batchyard.operations import contacts
from batchyard.store import contacts as stored
from batchyard.store.db import Database
from tests.factories import make_batch, make_items, make_team

DANE = "+4520123456"


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


async def numbers(db: Database, team: Team) -> list[str]:
    return [entry.number for entry in await contacts.list_do_not_contact(db, team=team)]


async def test_number_is_kept_as_it_is_dialled(db: Database, team: Team) -> None:
    entry = await contacts.add_do_not_contact(
        db, team=team, number=" +45 (20) 12-34-56", reason="asked us"
    )
    assert (entry.number, entry.reason, entry.until, entry.source) == (
        DANE,
        "asked us",
        None,
        "person",
    )
    assert await numbers(db, team) == [DANE]


async def test_number_that_is_listed_again_has_its_new_time(db: Database, team: Team) -> None:
    until = db.clock() + timedelta(days=1)
    await contacts.add_do_not_contact(db, team=team, number=DANE)
    await contacts.add_do_not_contact(db, team=team, number=DANE, until=until)
    (entry,) = await contacts.list_do_not_contact(db, team=team)
    assert entry.until == until


@pytest.mark.parametrize("is_listed", [False, True])
async def test_opt_out_is_not_shortened(db: Database, team: Team, is_listed: bool) -> None:
    if is_listed:
        await contacts.add_do_not_contact(db, team=team, number=DANE)
    batch_id = await make_batch(db, team=team, kind=Kind.CALL)
    item_ids = await make_items(db, team=team, batch_id=batch_id, number=DANE)
    async with db.transaction() as conn:
        await stored.add_opt_outs(conn, item_ids=item_ids, now=db.clock())
    tomorrow = db.clock() + timedelta(days=1)
    entry = await contacts.add_do_not_contact(
        db, team=team, number=DANE, reason="a break", until=tomorrow
    )
    assert (entry.until, entry.source, entry.reason) == (None, "opt_out", "a break")
    await contacts.remove_do_not_contact(db, team=team, number=DANE)
    entry = await contacts.add_do_not_contact(db, team=team, number=DANE, until=tomorrow)
    assert (entry.until, entry.source) == (tomorrow, "person")


async def test_lists_of_teams_are_apart(db: Database, team: Team) -> None:
    other = await make_team(db)
    await contacts.add_do_not_contact(db, team=team, number=DANE)
    assert await numbers(db, other) == []
    with pytest.raises(NotFound):
        await contacts.remove_do_not_contact(db, team=other, number=DANE)
    await contacts.remove_do_not_contact(db, team=team, number="+45 20123456")
    assert await numbers(db, team) == []


async def test_list_goes_on_where_a_page_ended(db: Database, team: Team) -> None:
    for last in range(5):
        await contacts.add_do_not_contact(db, team=team, number=f"{DANE[:-1]}{last}")
    first = await contacts.list_do_not_contact(db, team=team, limit=3)
    rest = await contacts.list_do_not_contact(db, team=team, after=first[-1].number, limit=3)
    assert [entry.number[-1] for entry in [*first, *rest]] == list("01234")


@pytest.mark.parametrize("text", ["20123456", "+45", "hello", "", "+4520123456x"])
async def test_text_that_is_no_number_is_refused(db: Database, team: Team, text: str) -> None:
    with pytest.raises(InvalidRequest):
        await contacts.add_do_not_contact(db, team=team, number=text)
    assert await numbers(db, team) == []


async def test_time_that_has_passed_is_refused(db: Database, team: Team) -> None:
    with pytest.raises(InvalidRequest, match="has passed"):
        await contacts.add_do_not_contact(
            db, team=team, number=DANE, until=datetime(2020, 1, 1, tzinfo=UTC)
        )


async def test_reason_that_cannot_be_kept_is_refused(db: Database, team: Team) -> None:
    for reason in ("a\0b", "x" * 501):
        with pytest.raises(InvalidRequest, match="reason"):
            await contacts.add_do_not_contact(db, team=team, number=DANE, reason=reason)


async def test_rules_are_off_until_they_are_set(db: Database, team: Team) -> None:
    assert await contacts.read_rules(db, team=team) == TeamRules()


async def test_rules_come_back_as_they_were_set(db: Database, team: Team) -> None:
    rules = TeamRules(
        fallback_zone="Europe/Copenhagen",
        days=frozenset({1, 5}),
        holidays=frozenset({date(2026, 12, 24)}),
        attempts_per_day=2,
        attempts_per_week=5,
        countries=frozenset({"DK", "SE"}),
        refuses_premium=True,
    )
    assert await contacts.set_rules(db, team=team, change=lambda _: rules) == rules
    assert await contacts.read_rules(db, team=team) == rules
    changed = await contacts.set_rules(
        db, team=team, change=lambda held: replace(held, countries=None, attempts_per_day=None)
    )
    assert changed == replace(rules, countries=None, attempts_per_day=None)
    assert await contacts.read_rules(db, team=await make_team(db)) == TeamRules()


async def test_countries_may_be_written_small(db: Database, team: Team) -> None:
    rules = TeamRules(countries=frozenset({"dk", " se"}))
    held = await contacts.set_rules(db, team=team, change=lambda _: rules)
    assert held.countries == frozenset({"DK", "SE"})


@pytest.mark.parametrize(
    "rules,name",
    [
        (TeamRules(fallback_zone="Mars/Olympus"), "fallback_zone"),
        (TeamRules(fallback_zone=""), "fallback_zone"),
        (TeamRules(days=frozenset()), "days"),
        (TeamRules(days=frozenset({8})), "days"),
        (TeamRules(attempts_per_day=0), "attempts_per_day"),
        (TeamRules(attempts_per_week=-1), "attempts_per_week"),
        (TeamRules(attempts_per_week=1001), "attempts_per_week"),
        (TeamRules(countries=frozenset({"DK", "ATLANTIS"})), "countries"),
    ],
)
async def test_rules_that_make_no_sense_are_refused(
    db: Database, team: Team, rules: TeamRules, name: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await contacts.set_rules(db, team=team, change=lambda _: rules)
    assert set(refused.value.faults) == {name}
    assert await contacts.read_rules(db, team=team) == TeamRules()
