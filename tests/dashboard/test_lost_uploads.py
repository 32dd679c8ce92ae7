"""Uploads whose answer never comes: what the pages say, and what came in all the same."""

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Locator, Page, Response, Route, expect

from batchyard.dashboard.visitors import PREFIX
from batchyard.models import Team
from batchyard.store import uploads
from tests import factories
from tests.dashboard.conftest import Yard, batch_path, looking, signed_in
from tests.dashboard.looks import check_page
from tests.dashboard.relay import Relay
from tests.operations.lists import upload

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROWS = "contact_number,name\n+4520123456,Ann\n"
REFUSED = b"contact_number,name\n+4520123451,a\n12,b\n"
LARGE_ROWS = "contact_number,note\n" + f"+4520123456,{'x' * 1000}\n" * 32_000
"""More than the buffers between a browser and a server hold."""
LOST = ("net::ERR_", "htmx:", "status of 409", "status of 503")
"""What the browser says of a connection that breaks, and of what it sends again by itself."""
ALL = 100
IN_VIEW = "SELECT count(*) FROM batches WHERE team_id = %s AND state <> 'importing'"
WAITS = (
    "SELECT count(*) > 0 FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
    " WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database()"
)
REHEARSAL = re.compile("/rehearsal$")
CHANGED = "The file was changed or moved; choose it again."


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, yard: Yard, relay: Relay) -> AsyncIterator[BrowserContext]:
    """Lend a browser whose connections may break; it is gone before the relay is."""
    del relay
    async with looking(browser, yard, expected=LOST) as context:
        yield context


@pytest_asyncio.fixture(loop_scope="session")
async def relay(yard: Yard) -> AsyncIterator[Relay]:
    """Lend a way to the server that can be broken."""
    relay = Relay(yard.config.host, yard.config.port, upload=f"{PREFIX}/new/upload")
    await relay.open()
    yield relay
    relay.close()


@pytest_asyncio.fixture(loop_scope="session")
async def team(yard: Yard) -> Team:
    """Lend a team that has nothing yet."""
    return await factories.make_team(yard.db)


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext, yard: Yard, team: Team) -> Page:
    """Lend a page of somebody of that team."""
    return await signed_in(context, yard, team=team)


async def fill(page: Page, url: str, file: Path) -> None:
    """Choose a file for a new batch, and say the rest."""
    await page.goto(f"{url}{PREFIX}/new")
    await page.get_by_label("File", exact=True).set_input_files(file)
    await expect(page.locator("#look")).to_contain_text("looked at")
    await page.get_by_label("Name of the new agent").fill("Ann")


def sending(page: Page) -> Locator:
    """Return what is clicked to send a new batch."""
    return page.get_by_role("button", name="Check all rows")


def is_under_way(answer: Response) -> bool:
    """Tell whether an upload is known to the server, so the answer is about it."""
    return "/new/uploads/" in answer.url and answer.status == 200


def write(path: Path, text: str, *, age_minutes: int = 0) -> Path:
    """Write a file; browsers see that it was changed by its time, in whole seconds."""
    path.write_text(text, "utf-8")
    seconds = path.stat().st_mtime - 60 * age_minutes
    os.utime(path, (seconds, seconds))
    return path


@asynccontextmanager
async def held_at_its_end(yard: Yard, team: Team) -> AsyncIterator[None]:
    """Hold an upload of the rows up when all of it was sent."""
    digest = hashlib.sha256(ROWS.encode()).digest()
    async with yard.db.transaction() as conn:
        await uploads.lock_content(conn, team_id=team.id, sha256=digest)
        yield


@pytest.mark.parametrize("lost", [1, ALL], ids=["once", "always"])
async def test_batch_whose_answer_is_lost_is_gone_to(
    page: Page, relay: Relay, yard: Yard, team: Team, tmp_path: Path, *, lost: int
) -> None:
    await fill(page, relay.url, write(tmp_path / "people.csv", ROWS))
    relay.answers_to_lose = lost

    await sending(page).click()

    await expect(page).to_have_url(REHEARSAL)
    await expect(page.get_by_role("heading", name="people.csv")).to_be_visible()
    assert relay.answers_to_lose < lost
    assert await yard.value(IN_VIEW, [team.id]) == 1


async def test_batch_that_still_comes_in_is_waited_for(
    page: Page, relay: Relay, yard: Yard, team: Team, tmp_path: Path
) -> None:
    await fill(page, relay.url, write(tmp_path / "people.csv", ROWS))
    async with held_at_its_end(yard, team):
        await sending(page).click()
        await yard.until(WAITS)
        async with page.expect_response(is_under_way):
            relay.cut()
        await expect(page.locator("#told")).to_be_empty()
        await expect(sending(page)).to_be_disabled()
    await expect(page).to_have_url(REHEARSAL)
    assert await yard.value(IN_VIEW, [team.id]) == 1


async def test_batch_that_nobody_can_be_asked_about_is_not_called_lost(
    page: Page, relay: Relay, yard: Yard, team: Team, tmp_path: Path
) -> None:
    await fill(page, relay.url, write(tmp_path / "people.csv", ROWS))
    async with held_at_its_end(yard, team):
        await sending(page).click()
        await yard.until(WAITS)
        relay.close()
        told = page.locator("#told").get_by_role("alert")
        await expect(told).to_contain_text("Look under Batches whether the file came in")
        await expect(sending(page)).to_be_enabled()
        await check_page(page)
    await yard.until(f"SELECT ({IN_VIEW}) = 1", [team.id])


async def test_answer_of_a_server_that_stops_says_nothing_of_the_list(
    page: Page, yard: Yard, tmp_path: Path
) -> None:
    await fill(page, yard.url, write(tmp_path / "people.csv", ROWS))
    await page.route("**/new/upload", lambda route: route.fulfill(status=503))

    await sending(page).click()

    told = page.locator("#told").get_by_role("alert")
    await expect(told).to_contain_text("Look under Batches whether the file came in")


async def test_list_that_was_not_sent_whole_is_told_to_be_sent_again(
    page: Page, relay: Relay, yard: Yard, team: Team, tmp_path: Path
) -> None:
    await fill(page, relay.url, write(tmp_path / "people.csv", LARGE_ROWS))
    relay.passes.clear()
    await sending(page).click()
    await expect(page.get_by_label("Upload", exact=True)).not_to_have_attribute("value", "0")

    relay.close()

    told = page.locator("#told").get_by_role("alert")
    await expect(told).to_contain_text("Nothing of the file was kept; send it again.")
    assert await yard.value(IN_VIEW, [team.id]) == 0


async def test_list_that_was_changed_since_it_was_chosen_is_chosen_again(
    page: Page, yard: Yard, team: Team, tmp_path: Path
) -> None:
    file = write(tmp_path / "people.csv", ROWS, age_minutes=5)
    await fill(page, yard.url, file)
    write(file, f"{ROWS}+4520123457,Bo\n")
    told = page.locator("#told").get_by_role("alert")
    await page.get_by_label("Meaning of name").select_option("left out")
    await expect(told).to_have_text(CHANGED)
    await sending(page).click()
    await expect(told).to_have_text(CHANGED)
    assert await yard.value(IN_VIEW, [team.id]) == 0

    async with page.expect_file_chooser() as asked:
        await page.locator("[data-drop]").click()
    # A browser tells of the same file as of a new one only where none is chosen.
    await expect(page.get_by_label("File", exact=True)).to_have_value("")
    await (await asked.value).set_files(file)
    await expect(page.locator("#look")).to_contain_text("2 looked at")
    await sending(page).click()
    await expect(page).to_have_url(REHEARSAL)
    assert await yard.value(IN_VIEW, [team.id]) == 1


async def refused_page(page: Page, yard: Yard, team: Team) -> UUID:
    """Open the refused rows of a batch."""
    batch_id = (await upload(yard.db, REFUSED, team=team)).batch_id
    await page.goto(batch_path(batch_id, "/refused"))
    return batch_id


async def test_corrected_file_that_was_changed_since_is_chosen_again(
    page: Page, yard: Yard, team: Team, tmp_path: Path
) -> None:
    batch_id = await refused_page(page, yard, team)
    file = write(tmp_path / "mended.csv", "no list", age_minutes=5)
    chosen = page.get_by_label("Corrected file")
    told = page.locator("#mend-told").get_by_role("alert")
    button = page.get_by_role("button", name="Upload corrected file")
    await chosen.set_input_files(file)
    await button.click()
    await expect(told).to_contain_text("contact_number")

    write(file, ROWS)
    await button.click()

    await expect(told).to_have_text(CHANGED)
    await expect(chosen).to_have_value("")
    await check_page(page)
    await chosen.set_input_files(file)
    await button.click()
    await expect(page.get_by_role("status").first).to_contain_text("1 row was taken.")
    assert await yard.value("SELECT count(*) FROM items WHERE batch_id = %s", [batch_id]) == 2


async def test_corrected_file_that_is_gone_is_told(
    page: Page, yard: Yard, team: Team, tmp_path: Path
) -> None:
    await refused_page(page, yard, team)
    file = write(tmp_path / "mended.csv", ROWS)
    await page.get_by_label("Corrected file").set_input_files(file)
    file.unlink()

    await page.get_by_role("button", name="Upload corrected file").click()

    await expect(page.locator("#mend-told").get_by_role("alert")).to_have_text(CHANGED)


async def test_corrected_file_whose_connection_is_lost_is_told_until_it_is_sent_again(
    page: Page, yard: Yard, team: Team, tmp_path: Path
) -> None:
    await refused_page(page, yard, team)
    is_sent = asyncio.Event()
    await page.route("**/refused/file", lambda route: route.abort())
    await page.get_by_label("Corrected file").set_input_files(write(tmp_path / "mended.csv", ROWS))
    button = page.get_by_role("button", name="Upload corrected file")
    await button.click()
    told = page.locator("#mend-told")
    await expect(told.get_by_role("alert")).to_contain_text("The connection was lost.")

    async def hold(route: Route) -> None:
        await is_sent.wait()
        await route.continue_()

    await page.unroute("**/refused/file")
    await page.route("**/refused/file", hold)
    await button.click()
    await expect(told).to_be_empty()
    is_sent.set()
    await expect(page.get_by_role("status").first).to_contain_text("1 row was taken.")
