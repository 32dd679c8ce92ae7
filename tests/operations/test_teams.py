"""Teams: made, found, refused."""

import asyncio

import pytest

from batchyard.errors import Conflict, InvalidRequest
from batchyard.operations.teams import (
    change_team,
    create_team,
    ensure_team,
    find_team,
    list_teams,
)
from batchyard.store.db import Database


async def test_a_team_is_found_by_slug_and_uuid(db: Database) -> None:
    team = await create_team(
        db, name="Nord", slug="nord", locale="da_DK", timezone="Europe/Copenhagen"
    )

    assert (team.name, team.locale, team.timezone) == ("Nord", "da-DK", "Europe/Copenhagen")
    for name in ("nord", str(team.uuid), str(team.uuid).upper()):
        assert await find_team(db, slug_or_uuid=name) == team


@pytest.mark.parametrize(
    "name", ["", "nobody", "NORD", "no\0rd", "é", "3c90c3cc-0d44-4b50-8888-8dd25736052a", "-"]
)
async def test_an_unknown_team_is_not_found(db: Database, name: str) -> None:
    await create_team(db, name="Nord", slug="nord")

    assert await find_team(db, slug_or_uuid=name) is None


@pytest.mark.parametrize(
    "name, slug",
    [
        ("Nordic Parcels A/S", "nordic-parcels-a-s"),
        ("Ålborg Café", "alborg-cafe"),
        ("9" * 80, "9" * 63),
    ],
)
async def test_a_slug_is_made_from_the_name(db: Database, name: str, slug: str) -> None:
    assert (await create_team(db, name=name)).slug == slug


async def test_a_slug_belongs_to_one_team(db: Database) -> None:
    await create_team(db, name="First", slug="nord")

    with pytest.raises(Conflict, match="nord"):
        await create_team(db, name="Second", slug="nord")


@pytest.mark.parametrize(
    "given, fault",
    [
        ({"slug": "Nord"}, "slug"),
        ({"slug": ""}, "slug"),
        ({"slug": "-a"}, "slug"),
        ({"slug": "a" * 64}, "slug"),
        ({"slug": "3c90c3cc-0d44-4b50-8888-8dd25736052a"}, "slug"),
        ({"name": "日本"}, "slug"),
        ({"name": "  ", "slug": "a"}, "name"),
        ({"name": "a\0", "slug": "a"}, "name"),
        ({"locale": "xx-YY"}, "locale"),
        ({"locale": ""}, "locale"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../UTC"}, "timezone"),
    ],
)
async def test_a_wrong_value_is_named(db: Database, given: dict[str, str], fault: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await create_team(db, **{"name": "Nord", **given})  # type: ignore[arg-type]  # texts only

    assert list(caught.value.faults) == [fault]


async def test_ensuring_a_team_many_times_makes_one(db: Database) -> None:
    teams = await asyncio.gather(*(ensure_team(db, slug="default", name="D") for _ in range(5)))

    assert len({team.id for team in teams}) == 1


async def test_what_is_named_of_a_team_is_changed(db: Database) -> None:
    team = await create_team(db, name="Nord", slug="nord", locale="da")

    changed = await change_team(db, team=team, timezone="Europe/Copenhagen")

    # Another change meanwhile, by somebody who saw the team as it was.
    again = await change_team(db, team=team, name=" Syd ")
    assert (changed.name, changed.timezone) == ("Nord", "Europe/Copenhagen")
    assert (again.name, again.locale, again.timezone) == ("Syd", "da", "Europe/Copenhagen")
    assert await find_team(db, slug_or_uuid="nord") == again
    with pytest.raises(InvalidRequest) as caught:
        await change_team(db, team=team, name="", timezone="Mars/Olympus")
    assert set(caught.value.faults) == {"name", "timezone"}
    assert await list_teams(db) == [again]
