"""For how many days things are kept, on the page of the team: shown, changed, refused."""

import re

import pytest
from playwright.async_api import BrowserContext, expect

from batchyard.dashboard.visitors import PREFIX
from batchyard.operations import retention
from batchyard.operations.retention import DEFAULT_DAYS
from tests import factories
from tests.dashboard.conftest import Yard, signed_in
from tests.dashboard.looks import check_page

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE, PATH = f"{PREFIX}/settings/limits", f"{PREFIX}/settings/retention"
EMPTY = dict.fromkeys(DEFAULT_DAYS, "")
TRACES = """
SELECT coalesce(jsonb_agg(jsonb_build_array(action, before, after) ORDER BY id), '[]')
  FROM audit_log WHERE team_id = %s AND action LIKE 'retention%%'
"""


def form_of(page: str) -> dict[str, str]:
    """Return what the fields show."""
    [form] = re.findall(rf'<form[^>]*action="{PATH}"(.*?)</form>', page, re.DOTALL)
    return dict(re.findall(r'name="((?!was_)\w+_days)" value="([^"]*)"', form))


async def test_days_are_set_as_by_the_api_and_leave_its_trace(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    async with yard.client(team=team) as client:
        first = (await client.get(PAGE)).text
        assert form_of(first) == EMPTY
        assert all(f"{n} unless set" in first for n in DEFAULT_DAYS.values())

        given = EMPTY | {"items_days": "90", "idempotency_days": "2"}
        done = await client.post(PATH, data=given)
        assert (done.status_code, done.headers["location"]) == (303, PAGE)
        shown = (await client.get(PAGE)).text
        assert form_of(shown) == given
        assert "365 unless set" in shown
        # What the form does not show stays as it is.
        assert (await client.post(PATH, data={"items_days": ""})).status_code == 303

    held = await retention.read_days(yard.db, team=team)
    assert held == {**DEFAULT_DAYS, "idempotency_days": 2}
    nothing = dict.fromkeys(DEFAULT_DAYS)
    assert await yard.value(TRACES, [team.id]) == [
        ["retention.set", DEFAULT_DAYS, nothing | {"items_days": 90, "idempotency_days": 2}],
        ["retention.set", {"items_days": 90}, {"items_days": None}],
    ]


@pytest.mark.parametrize(
    "name,typed,told",
    [
        ("items_days", "many", "Enter a whole number from 1 to 36500."),
        ("transcripts_days", "36501", "Enter a whole number from 1 to 36500."),
        ("webhooks_days", "31", "Enter a whole number from 1 to 30."),
        ("idempotency_days", "0", "Enter a whole number from 1 to 36500."),
    ],
)
async def test_wrong_days_are_told_beside_their_field_and_change_nothing(
    yard: Yard, name: str, typed: str, told: str
) -> None:
    team = await factories.make_team(yard.db)
    given = EMPTY | {"events_days": "7", name: typed}
    async with yard.client(team=team) as client:
        refused = await client.post(PATH, data=given)

    assert refused.status_code == 422
    assert form_of(refused.text) == given
    assert re.findall(r'<span class="fault" id="([\w-]+)">([^<]*)', refused.text) == [
        (f"{name}-fault", told)
    ]
    assert re.findall(r'name="(\w+)"[^>]* aria-invalid="true"', refused.text) == [name]
    assert await retention.read_days(yard.db, team=team) == DEFAULT_DAYS
    assert await yard.value(TRACES, [team.id]) == []


async def test_what_was_not_typed_anew_stays_as_somebody_else_has_set_it(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    await retention.set_days(yard.db, team=team, days={"items_days": 200})
    shown = {f"was_{name}": "" for name in DEFAULT_DAYS} | EMPTY
    shown |= {"was_items_days": "200", "items_days": "200"}
    async with yard.client(team=team) as client:
        page = (await client.get(PAGE)).text
        was = dict(re.findall(r'name="(was_\w+_days)" value="([^"]*)"', page))
        assert was.items() <= shown.items()
        await retention.set_days(
            yard.db, team=team, days={"items_days": 300, "transcripts_days": 365}
        )
        refused = await client.post(PATH, data=shown | {"events_days": "many"})
        assert 'name="was_items_days" value="200"' in refused.text
        assert (await client.post(PATH, data=shown | {"events_days": "30"})).status_code == 303
        assert (await client.post(PATH, data=shown)).status_code == 303
    held = await retention.read_days(yard.db, team=team)
    assert held == {**DEFAULT_DAYS, "items_days": 300, "transcripts_days": 365, "events_days": 30}
    assert await yard.value(TRACES, [team.id]) == [
        ["retention.set", {"events_days": 90}, {"events_days": 30}]
    ]


async def test_who_is_no_administrator_sees_the_days_and_cannot_change_them(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    async with yard.client(team=team) as client:
        assert (await client.post(PATH, data={"items_days": "90"})).status_code == 303
        assert "Save the days" in (await client.get(PAGE)).text
    async with yard.client("batches:read", "batches:write", "contacts", team=team) as client:
        page = (await client.get(PAGE)).text
        refused = await client.post(PATH, data={"items_days": "1"})

    assert form_of(page)["items_days"] == "90"
    [form] = re.findall(rf'<form[^>]*action="{PATH}"(.*?)</form>', page, re.DOTALL)
    assert '<fieldset class="stack" disabled>' in form
    assert "Save the days" not in page
    assert refused.status_code == 403
    assert (await retention.read_days(yard.db, team=team))["items_days"] == 90


async def test_fault_is_read_with_its_field_and_the_page_stays_accessible(
    context: BrowserContext, yard: Yard
) -> None:
    page = await signed_in(context, yard, team=await factories.make_team(yard.db))
    await page.goto(PAGE)
    await page.get_by_label("Idempotency keys with their answers").fill("0")
    await page.get_by_role("button", name="Save the days").click()
    field = page.get_by_label("Idempotency keys with their answers")
    await expect(field).to_have_accessible_description("Enter a whole number from 1 to 36500.")
    await check_page(page)
    await field.fill("3")
    await page.get_by_role("button", name="Save the days").click()
    await expect(page.get_by_text("The days are set;")).to_be_visible()
    await expect(field).to_have_value("3")
    await page.reload()
    await expect(field).to_have_value("3")


async def test_days_are_shown_in_danish(yard: Yard) -> None:
    danes = await factories.make_team(yard.db, locale="da")
    async with yard.client(team=danes) as client:
        page = (await client.get(PAGE)).text
    for words in ("I hvor mange dage ting gemmes", "365, hvis intet er sat", "Gem dagene"):
        assert words in page
