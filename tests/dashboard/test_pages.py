"""Every page in a real browser: accessible in light and dark, and no wider than the screen."""

import re
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from fastapi.routing import APIRoute
from playwright.async_api import BrowserContext, Page, expect

from batchyard.dashboard import (
    new_batch,
    papers,
    refused,
    rehearsal,
    results,
    routes,
    settings_frame,
)
from batchyard.dashboard.visitors import PREFIX
from batchyard.models import BatchState, Kind, Phase, Rate
from batchyard.operations import access, contacts, endpoints, users
from batchyard.operations.audit import Actor, audited
from batchyard.operations.limits import set_limit
from tests import factories
from tests.dashboard.conftest import NOWHERE, Yard, batch_path, signed_in
from tests.dashboard.looks import check_page

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = "A name that is as long as somebody who knows no mercy could make it " * 3
HISTORY = """
[{"attempt": 1, "key": "k.1", "status": "busy", "sent_at": "2026-03-04T10:00:00+00:00",
  "ended_at": "2026-03-04T10:00:09+00:00", "error_code": "x", "error_message": "Busy."}]
"""


class Sights:
    """Everything there is to look at."""

    def __init__(
        self, *, calls: UUID, shipments: UUID, planned: UUID, items: dict[str, UUID]
    ) -> None:
        self.calls = calls
        self.shipments = shipments
        self.planned = planned
        self.items = items


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sights(yard: Yard) -> Sights:
    """Make a batch of calls in every status and one of shipments, with long and odd contents."""
    db, team = yard.db, yard.team
    calls = await factories.make_batch(
        db, team=team, kind=Kind.CALL, state=BatchState.RUNNING, reference=LONG
    )
    items: dict[str, UUID] = {}
    for phase, status in (
        (Phase.DONE, "completed"),
        (Phase.DONE, "failed"),
        (Phase.DONE, "busy"),
        (Phase.DONE, "stopped"),
        (Phase.UNKNOWN, "unknown"),
        (Phase.LIVE, "ringing"),
        (Phase.READY, "retrying"),
        (Phase.READY, "waiting"),
    ):
        [items[status]] = await factories.make_items(
            db,
            team=team,
            batch_id=calls,
            phase=phase,
            status=status,
            number="+4520123456",
            payload={"first_name": "Zoë", "note": LONG, "<b>odd</b>": "<script>alert(1)</script>"},
        )
    await yard.execute(
        "UPDATE item_data SET error_code = 'call_failed', error_message = %s, attempts = %s"
        " WHERE item_id = %s",
        [
            LONG,
            HISTORY,
            items["failed"],
        ],
    )
    await yard.execute(
        "INSERT INTO rejected_rows (batch_id, line, code, reason, cells)"
        " VALUES (%s, 3, 'phone_letters', 'Letters.', %s), (%s, 4, 'phone_missing', 'None.', '[]')",
        [calls, f'["+45 2O", "{LONG}"]', calls],
    )
    await yard.execute(
        "UPDATE batches SET refused_rows = 2, columns = '{number,note}' WHERE id = %s", [calls]
    )
    now = db.clock()
    await yard.execute(
        "INSERT INTO tallies (scope, at, ok, failed)"
        " SELECT 'batch:' || %s::text, %s - make_interval(secs => 10 * n), n %% 7, n %% 3"
        " FROM generate_series(1, 60) AS n",
        [calls, now],
    )
    shipments = await factories.make_batch(
        db, team=team, state=BatchState.COMPLETED, reference="Shipments", started_at=now
    )
    [items["booked"]] = await factories.make_items(
        db, team=team, batch_id=shipments, phase=Phase.DONE, status="booked",
        payload={"parcels": [{"gross_weight": 540}], "delivery": {"carrier": "postnord"}},
    )  # fmt: skip
    await yard.execute(
        'UPDATE item_data SET result = \'{"parcels": [{"tracking_code": "0037"}]}\''
        " WHERE item_id = %s",
        [items["booked"]],
    )
    planned = await factories.make_batch(db, team=team, kind=Kind.CALL, reference="Planned")
    await factories.make_items(db, team=team, batch_id=planned, n=3, number="+4520123456")
    await fill_settings(yard, batch_id=calls)
    return Sights(calls=calls, shipments=shipments, planned=planned, items=items)


async def fill_settings(yard: Yard, *, batch_id: UUID) -> None:
    """Give every page of the settings and the overview something to show."""
    db, team = yard.db, yard.team
    actor = Actor(name="token test (1)", source="127.0.0.1")
    async with audited(
        db,
        team=team,
        actor=actor,
        action="batch.change",
        subject=str(batch_id),
        before={"reference": None},
        after={"reference": LONG},
    ):
        pass
    await access.create_token(db, team=team, name="Nightly export", scopes=("batches:read",))
    await users.create_user(db, team=team, email="ann@example.com", name="Ann", password=None)
    await contacts.add_do_not_contact(db, team=team, number="+4520123456", reason=LONG)
    endpoint = await endpoints.create_endpoint(
        db, team=team, url=f"https://example.com/{'long' * 40}", events=["batch.*"]
    )
    await endpoints.send_test(db, team=team, endpoint_id=endpoint.id)
    await set_limit(
        db,
        scope=f"team:{team.slug}",
        concurrency=5,
        rates=[Rate(count=10, seconds=1), Rate(count=100, seconds=60)],
    )
    await yard.execute(
        "INSERT INTO tallies (scope, at, ok, failed, seconds)"
        " SELECT scope, %s, 90, 10, 312 FROM unnest(ARRAY[%s, 'provider:1']) AS scope",
        [db.clock(), f"team:{team.id}"],
    )
    await yard.execute(
        "INSERT INTO failure_tallies VALUES (%s, %s, 'busy', 6), (%s, %s, 'carrier_refused', 4)",
        [team.id, db.clock(), team.id, db.clock()],
    )
    await yard.execute(
        "UPDATE providers SET paused_reason = 'brake: 9 of 10 attempts failed', paused_at = %s",
        [db.clock()],
    )


SECTIONS = tuple(section.path for section in settings_frame.SECTIONS)
PAGES = (
    "sign-in",
    "overview",
    "new",
    "rehearsal",
    *SECTIONS,
    "batches",
    "batches-empty",
    "items",
    "items-empty",
    "refused",
    "results",
    "events",
    "settings",
    "question",
    "question-retry",
    "item-failed",
    "item-unknown",
    "item-booked",
    "correct",
    "fault",
)


def path_of(name: str, sights: Sights) -> str:
    if name in SECTIONS:
        return f"{PREFIX}/settings{name}"
    return {
        "sign-in": f"{PREFIX}/sign-in",
        "overview": f"{PREFIX}/overview",
        "new": f"{PREFIX}/new",
        "rehearsal": batch_path(sights.planned, "/rehearsal"),
        "batches": f"{PREFIX}/batches",
        "batches-empty": f"{PREFIX}/batches?q=nothing",
        "items": batch_path(sights.calls),
        "items-empty": batch_path(sights.calls, "?q=nothing"),
        "refused": batch_path(sights.calls, "/refused"),
        "results": batch_path(sights.shipments, "/results"),
        "events": batch_path(sights.shipments, "/events"),
        "settings": batch_path(sights.calls, "/settings"),
        "question": batch_path(sights.calls, "/do/stop"),
        "question-retry": batch_path(sights.calls, "/do/retry"),
        "item-failed": f"{PREFIX}/items/{sights.items['failed']}",
        "item-unknown": f"{PREFIX}/items/{sights.items['unknown']}",
        "item-booked": f"{PREFIX}/items/{sights.items['booked']}",
        "correct": f"{PREFIX}/items/{sights.items['failed']}/correct",
        "fault": f"{PREFIX}{NOWHERE}",
    }[name]


NO_PAGES = {
    new_batch.show_progress,
    papers.send_paper,
    papers.send_picture,
    refused.download_refused,
    rehearsal.rehearse,
    results.download_results,
    settings_frame.show_settings,
}
"""What is read and is no page: files, pieces of pages, a way on to the first setting."""


async def test_every_page_there_is_is_looked_at() -> None:
    ids = dict.fromkeys(("failed", "unknown", "booked"), uuid4())
    sights = Sights(calls=uuid4(), shipments=uuid4(), planned=uuid4(), items=ids)
    known = {
        route.endpoint: route
        for module in routes.PAGES
        for route in module.router.routes
        if isinstance(route, APIRoute) and "GET" in (route.methods or ())
    }
    read = {one for one, route in known.items() if not route.path.endswith("/live")}

    def page_of(path: str) -> object:
        asked = urlsplit(path).path.removeprefix(PREFIX)
        return next((one for one in known if known[one].path_regex.match(asked)), None)

    looked_at = {page_of(path_of(name, sights)) for name in PAGES}
    assert read - looked_at == NO_PAGES


@pytest.mark.parametrize("name", PAGES)
async def test_page_is_accessible_and_fits_the_screen(
    context: BrowserContext, yard: Yard, sights: Sights, name: str
) -> None:
    page = await (context.new_page() if name == "sign-in" else signed_in(context, yard))
    await page.goto(path_of(name, sights), wait_until="load")
    await check_page(page)


FIRST = ("/overview", "/batches", "/new", *(f"/settings{path}" for path in SECTIONS))
"""What a team looks at that has done nothing yet."""


@pytest.mark.parametrize("path", FIRST)
async def test_first_sight_is_accessible_and_fits_the_screen(
    context: BrowserContext, yard: Yard, path: str
) -> None:
    page = await signed_in(context, yard, team=await factories.make_team(yard.db))
    await page.goto(f"{PREFIX}{path}", wait_until="load")
    await check_page(page)


@pytest.mark.parametrize("deed", ["Stop", "Retry failed"])
async def test_open_dialog_is_accessible_and_fits_the_screen(
    page: Page, sights: Sights, deed: str
) -> None:
    await page.goto(path_of("items", sights))
    await page.get_by_role("link", name=deed, exact=True).click()
    await page.get_by_role("dialog").get_by_role("button", name=deed).wait_for()
    await check_page(page)


async def test_page_with_a_new_token_is_accessible_and_fits_the_screen(page: Page) -> None:
    await page.goto(f"{PREFIX}/settings/tokens")
    await page.get_by_label("What it is for").fill("Nightly")
    await page.get_by_role("button", name="Make token").click()
    token = page.locator("code.secret")
    await token.wait_for()
    assert (await token.inner_text()).startswith("by_")
    await check_page(page)


async def test_what_is_in_rows_is_text_and_nothing_else(page: Page, sights: Sights) -> None:
    await page.goto(path_of("item-failed", sights))
    assert await page.get_by_text("<script>alert(1)</script>").first.is_visible()
    assert await page.locator("main script").count() == 0


async def test_label_is_shown_as_a_picture(page: Page, sights: Sights) -> None:
    await page.goto(path_of("item-booked", sights))
    picture = page.get_by_role("img", name="Label 1 of this shipment")
    await picture.scroll_into_view_if_needed()
    drawn = "image => image.complete && image.naturalWidth > 400"
    await page.wait_for_function(drawn, arg=await picture.element_handle())


async def test_chart_is_drawn_and_follows_the_window(page: Page, sights: Sights) -> None:
    await page.goto(path_of("items", sights))
    canvas = page.locator(".chart canvas")
    await canvas.wait_for()
    wide = await canvas.evaluate("canvas => canvas.clientWidth")
    await page.set_viewport_size({"width": 360, "height": 800})
    await page.wait_for_function("() => document.querySelector('.chart canvas').clientWidth < 340")
    assert wide > 900


READ_TABLE = """
() => [
    [...document.querySelectorAll("[data-chart-table] tbody tr")]
        .map(row => [...row.cells].map(cell => cell.textContent)),
    JSON.parse(document.getElementById("chart-data").textContent),
]
"""


async def test_chart_is_a_table_for_those_who_cannot_see_it(page: Page, sights: Sights) -> None:
    await page.goto(path_of("items", sights))
    await page.locator(".chart canvas").wait_for()
    rows, (times, ok, failed) = await page.evaluate(READ_TABLE)
    assert len(times) > 10
    assert [row[1:] for row in rows] == [
        [f"{good + bad:g}", f"{bad:g}"] for good, bad in zip(ok, failed, strict=True)
    ]
    assert all(re.fullmatch(r"\d\d:\d\d(:\d\d)?", row[0]) for row in rows)
    table = page.get_by_role("table", name="Attempts that ended, a minute")
    await expect(table.get_by_role("columnheader")).to_have_text(["Time", "ended", "failed"])
