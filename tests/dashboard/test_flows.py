"""What people do, as they do it: in a browser, against a real server and a real worker."""

import asyncio
import csv
import io
import re
from pathlib import Path
from uuid import UUID

import pytest
from playwright.async_api import BrowserContext, Page, expect
from pypdf import PdfReader

from batchyard.dashboard.visitors import COOKIE, PREFIX
from batchyard.intake.columns import Columns
from batchyard.intake.options import IntakeOptions
from batchyard.models import BatchState, Kind, Phase
from batchyard.operations import access, imports, sessions
from batchyard.operations.imports import CallSettings
from tests import factories
from tests.dashboard.conftest import Yard, batch_path, follow, signed_in

pytestmark = pytest.mark.asyncio(loop_scope="session")

PEOPLE = "contact_number,first_name\n+4520123403,Ann\n+4520123401,Bob\n+4520I23412,Carl\n,Dora\n"
"""Two that can be called, of whom one is busy, a letter in a number, a number missing."""


async def load(yard: Yard, text: str = PEOPLE) -> UUID:
    """Upload a list of calls, as a door would."""
    agent_id = await factories.make_agent(yard.db, team=yard.team)
    options = IntakeOptions(columns=Columns(kind=Kind.CALL))
    async with imports.import_file(yard.db, team=yard.team, options=options) as upload:
        await upload.feed(text.encode())
        await upload.finish_file()
        settings = CallSettings(
            agent_id=agent_id, file_name="people.csv", creates_agent=False, from_numbers=[]
        )
        await upload.open(settings)
        return upload.batch_id


async def state_of(yard: Yard, batch_id: UUID) -> object:
    return await yard.value("SELECT state FROM batches WHERE id = %s", [batch_id])


async def test_person_signs_in_by_keyboard_and_out(context: BrowserContext, yard: Yard) -> None:
    token = await access.create_token(yard.db, team=yard.team, name="keys")
    page = await context.new_page()
    await page.goto(f"{PREFIX}/batches?kind=call")
    await expect(page).to_have_url(re.compile("/sign-in"))
    await expect(page.get_by_label("E-mail")).to_be_focused()
    for _ in range(3):
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.type(token)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile(r"/batches\?kind=call$"))
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await page.goto(f"{PREFIX}/batches")
    await expect(page).to_have_url(re.compile("/sign-in"))


async def test_batch_is_started_watched_and_its_failed_tried_again(page: Page, yard: Yard) -> None:
    batch_id = await load(yard)
    await page.goto(f"{PREFIX}/batches")
    await follow(page, page.get_by_role("link", name="people.csv").first)
    await page.get_by_role("link", name="Start now").click()
    dialog = page.get_by_role("dialog", name="Start this batch?")
    await expect(dialog).to_contain_text("2 items may be sent from now on.")
    await follow(page, dialog.get_by_role("button", name="Start now"))
    await expect(page.get_by_role("status").first).to_have_text("The batch was started.")
    async with yard.working():
        # The page is not loaded again; it is told.
        await expect(page.locator("#batch-head .badge").first).to_have_text("completed")
        await expect(page.locator("#batch-head")).to_contain_text("2 of 2")
        await expect(page.locator("#items")).to_contain_text("busy")
        await page.get_by_role("link", name="Retry failed").click()
        dialog = page.get_by_role("dialog", name="Try failed items again?")
        await expect(dialog.get_by_role("checkbox")).to_be_checked()
        await expect(dialog).to_contain_text("1 item busy")
        await dialog.get_by_role("button", name="Retry failed").click()
        await expect(page.get_by_role("status").first).to_have_text("1 item is tried again.")
        await yard.until("SELECT max(try) = 2 FROM items WHERE batch_id = %s", [batch_id])
        await expect(page.locator("#batch-head .badge").first).to_have_text("completed")


async def test_batch_is_paused_resumed_and_stopped(page: Page, yard: Yard) -> None:
    batch_id = await load(yard)
    await yard.execute("UPDATE batches SET state = 'running' WHERE id = %s", [batch_id])
    await page.goto(batch_path(batch_id))
    for deed, told, state in (
        ("Pause", "2 items wait until you resume.", "paused"),
        ("Resume", "2 items go on.", "running"),
        ("Stop", "2 items that were not sent end as stopped.", "stopped"),
    ):
        await page.get_by_role("link", name=deed).click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text(told)
        assert await state_of(yard, batch_id) != state
        await follow(page, dialog.get_by_role("button", name=deed))
        await expect(page.locator("#batch-head .badge").first).to_have_text(state)
        assert await state_of(yard, batch_id) == state
    traces = await yard.value(
        "SELECT array_agg(action ORDER BY id) FROM audit_log WHERE subject = %s", [str(batch_id)]
    )
    assert traces == ["batch.pause", "batch.resume", "batch.stop"]


async def test_question_is_left_by_keyboard_and_nothing_happens(page: Page, yard: Yard) -> None:
    batch_id = await load(yard)
    await page.goto(batch_path(batch_id))
    await page.get_by_role("link", name="Delete").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog", name="Delete this batch?")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_role("link", name="Delete")).to_be_focused()
    assert await state_of(yard, batch_id) == "open"


async def test_refused_rows_are_downloaded_corrected_and_uploaded(
    page: Page, yard: Yard, tmp_path: Path
) -> None:
    batch_id = await load(yard)
    await page.goto(batch_path(batch_id, "/refused"))
    await expect(page.locator("#main")).to_contain_text("The phone number contains letters.")
    async with page.expect_download() as coming:
        await page.get_by_role("link", name="Download refused rows").click()
    download = await coming.value
    content = await asyncio.to_thread(Path(await download.path()).read_text, "utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(content)))
    assert [row["first_name"] for row in rows] == ["Carl", "Dora"]
    rows[0]["contact_number"] = "+4520123412"
    corrected = io.StringIO()
    writer = csv.DictWriter(corrected, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    file = tmp_path / "corrected.csv"
    file.write_text(corrected.getvalue(), encoding="utf-8")

    await page.get_by_label("Corrected file").set_input_files(file)
    await page.get_by_role("button", name="Upload corrected file").click()

    await expect(page.get_by_role("status").first).to_have_text(
        "1 row was taken. 1 is still refused."
    )
    await expect(page.locator(".refused tbody tr")).to_have_count(1)
    assert await yard.value("SELECT count(*) FROM items WHERE batch_id = %s", [batch_id]) == 3


async def test_file_that_is_no_list_is_told_where_it_was_sent_from(
    page: Page, yard: Yard, tmp_path: Path
) -> None:
    batch_id = await load(yard)
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    await page.goto(batch_path(batch_id, "/refused"))
    await page.get_by_label("Corrected file").set_input_files(tmp_path / "picture.csv")
    await page.get_by_role("button", name="Upload corrected file").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await expect(page.get_by_role("button", name="Upload corrected file")).to_be_enabled()


async def test_settings_are_changed_while_the_batch_runs(page: Page, yard: Yard) -> None:
    batch_id = await load(yard)
    await yard.execute("UPDATE batches SET state = 'running' WHERE id = %s", [batch_id])
    await page.goto(batch_path(batch_id, "/settings"))
    await page.get_by_label("Items in flight at once").fill("many")
    await page.get_by_role("button", name="Save limits").click()
    fault = page.get_by_text("Enter a whole number from 1 to 1000000.")
    await expect(fault).to_be_visible()
    await expect(page.get_by_label("Items in flight at once")).to_have_value("many")

    await page.get_by_label("Items in flight at once").fill("7")
    await page.get_by_label("Starts").fill("30")
    await page.get_by_role("button", name="Save limits").click()
    await expect(page.get_by_role("status").first).to_contain_text("The settings are changed")
    await expect(page.get_by_label("Starts")).to_have_value("30")
    await page.get_by_label("busy").check()
    await page.get_by_label("At most so many times").fill("2")
    await page.get_by_role("button", name="Save retries").click()
    await expect(page.get_by_label("busy")).to_be_checked()
    await page.get_by_label("Call at any hour").check()
    await page.get_by_role("button", name="Save window").click()
    await page.get_by_label("Name").fill("Renamed")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_role("heading", name="Renamed")).to_be_visible()

    kept = await yard.value(
        "SELECT jsonb_build_array(l.concurrency, r.count, r.seconds, b.bypass_windows,"
        " b.retry_policy -> 'statuses', b.retry_policy -> 'max_retries')"
        " FROM batches b JOIN limits l ON l.key = 'batch:' || b.id JOIN rates r USING (key)"
        " WHERE b.id = %s",
        [batch_id],
    )
    assert kept == [7, 30, 60, True, ["busy"], 2]


async def test_item_is_corrected_and_tried_again(page: Page, yard: Yard) -> None:
    batch_id = await load(yard)
    await yard.execute(
        "UPDATE batches SET state = 'completed', finished_at = created_at WHERE id = %s",
        [batch_id],
    )
    await yard.execute(
        "UPDATE items SET phase = 'done', status = 'failed' WHERE batch_id = %s", [batch_id]
    )
    await page.goto(batch_path(batch_id))
    await page.get_by_role("link", name="+4520123401").click()
    await page.get_by_role("link", name="Correct").click()
    await page.get_by_label("Number").fill("+45 2")
    await page.get_by_role("button", name="Save the correction").click()
    await expect(page.get_by_role("alert")).to_contain_text("too short")
    await page.get_by_label("Number").fill("+4520123477")
    await page.get_by_label("first_name").fill("Robert")
    await page.get_by_role("button", name="Save the correction").click()
    await expect(page.get_by_role("heading", name="+4520123477")).to_be_visible()
    await expect(page.locator("#item")).to_contain_text("Robert")
    await expect(page.locator("#item")).to_contain_text("corrected it")
    assert await state_of(yard, batch_id) == "running"


LINES = 'contact_number,"Customer\nname",note,rank\n+4520123401,"A\nB"," \ntwo\n lines ", 1 \n'
"""Names and values with line breaks, and with blanks around them."""


async def test_correction_leaves_what_was_not_touched_to_the_letter(page: Page, yard: Yard) -> None:
    batch_id = await load(yard, LINES)
    sent = {"Customer\nname": "A\nB", "note": " \ntwo\n lines ", "rank": " 1 "}
    kept = "SELECT payload FROM item_data WHERE batch_id = %s"
    assert await yard.value(kept, [batch_id]) == sent
    await page.goto(batch_path(batch_id))
    await follow(page, page.get_by_role("link", name="+4520123401"))
    await follow(page, page.get_by_role("link", name="Correct"))
    await page.get_by_label("Number").fill("+45 2")
    await page.get_by_role("button", name="Save the correction").click()
    await expect(page.get_by_role("alert")).to_contain_text("too short")
    await page.get_by_label("Number").fill("+4520123477")
    await page.get_by_role("button", name="Save the correction").click()
    await expect(page.get_by_role("heading", name="+4520123477")).to_be_visible()
    assert await yard.value(kept, [batch_id]) == sent

    await follow(page, page.get_by_role("link", name="Correct"))
    await page.get_by_label("Customer name").fill("A\nC")
    await page.get_by_label("rank").fill("2 ")
    await page.get_by_role("button", name="Save the correction").click()
    await expect(page.locator("#item")).to_contain_text("A C")
    changed = {"Customer\nname": "A\nC", "rank": "2"}
    assert await yard.value(kept, [batch_id]) == sent | changed


async def test_unknown_outcome_is_decided(page: Page, yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, state=BatchState.RUNNING)
    [item_id] = await factories.make_items(
        yard.db, team=yard.team, batch_id=batch_id, phase=Phase.UNKNOWN, status="unknown"
    )
    await page.goto(f"{PREFIX}/items/{item_id}")
    await expect(page.locator("#main")).to_contain_text("a person has to decide")
    await page.get_by_label("It was done It counts").check()
    # Pieces of the page come anew meanwhile; what was chosen stays.
    await yard.execute("UPDATE item_data SET reference = 'R-1' WHERE item_id = %s", [item_id])
    await expect(page.get_by_role("heading", name="R-1")).to_be_visible()
    await expect(page.get_by_label("It was done It counts")).to_be_checked()
    await page.get_by_role("button", name="Decide").click()
    await expect(page.locator("#item-head .badge")).to_have_text("booked")


async def test_results_are_downloaded(page: Page, yard: Yard) -> None:
    batch_id = await load(yard)
    await yard.execute(
        "UPDATE batches SET state = 'completed', finished_at = created_at WHERE id = %s",
        [batch_id],
    )
    await yard.execute(
        "UPDATE items SET phase = 'done', status = 'stopped' WHERE batch_id = %s", [batch_id]
    )
    await page.goto(batch_path(batch_id, "/results"))
    for name, suffix, begin in (("CSV", ".csv", "\ufeffline,"), ("Evidence (ZIP)", ".zip", "PK")):
        async with page.expect_download() as coming:
            await page.get_by_role("link", name=name, exact=True).click()
        download = await coming.value
        assert download.suggested_filename.endswith(f"{batch_id}{suffix}")
        content = await asyncio.to_thread(Path(await download.path()).read_bytes)
        assert content.decode("latin-1" if begin == "PK" else "utf-8").startswith(begin)


async def test_reader_is_shown_and_given_no_way_to_change(
    context: BrowserContext, yard: Yard
) -> None:
    batch_id = await load(yard)
    page = await signed_in(context, yard, "batches:read")
    await page.goto(batch_path(batch_id))
    await expect(page.locator("#items")).to_contain_text("+4520123403")
    await expect(page.locator(".deeds")).to_have_count(0)
    await page.goto(batch_path(batch_id, "/settings"))
    await expect(page.get_by_label("Priority")).to_be_disabled()


HIDE = """
(hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}
"""
LIVE = re.compile("/live$")


async def is_live_again(page: Page, yard: Yard, batch_id: UUID) -> None:
    """Look at a page again: what happens from then on is shown."""
    async with page.expect_response(LIVE):
        await page.evaluate(HIDE, arg=False)
    await yard.execute("UPDATE batches SET reference = 'seen again' WHERE id = %s", [batch_id])
    await expect(page.get_by_role("heading", name="seen again")).to_be_visible()


async def test_page_nobody_looks_at_lets_go_of_its_connection(page: Page, yard: Yard) -> None:
    batch_id = await load(yard)
    async with page.expect_response(LIVE):
        await page.goto(batch_path(batch_id))
    async with page.expect_event("requestfailed", lambda one: one.url.endswith("/live")):
        await page.evaluate(HIDE, arg=True)
    await is_live_again(page, yard, batch_id)


async def test_page_whose_session_ended_unseen_leads_to_the_sign_in(
    page: Page, context: BrowserContext, yard: Yard
) -> None:
    batch_id = await load(yard)
    async with page.expect_response(LIVE):
        await page.goto(batch_path(batch_id))
    await page.evaluate(HIDE, arg=True)
    [secret] = [one["value"] for one in await context.cookies() if one["name"] == COOKIE]
    session = await sessions.find_session(yard.db, secret=secret)
    assert session is not None
    await sessions.sign_out(yard.db, session=session)
    await page.evaluate(HIDE, arg=False)
    await expect(page).to_have_url(re.compile(f"{PREFIX}/sign-in"))


async def test_page_lets_go_of_a_connection_it_still_waits_for(page: Page, yard: Yard) -> None:
    batch_id = await load(yard)
    await page.route(LIVE, lambda _: None)
    async with page.expect_request(LIVE):
        await page.goto(batch_path(batch_id))
    async with page.expect_event("requestfailed", lambda one: one.url.endswith("/live")):
        await page.evaluate(HIDE, arg=True)
    await page.unroute(LIVE)
    await is_live_again(page, yard, batch_id)


async def test_page_opened_behind_others_takes_no_connection(page: Page, yard: Yard) -> None:
    batch_id = await load(yard)
    await page.add_init_script(
        "Object.defineProperty(document, 'hidden', { value: true, configurable: true })"
    )
    streams = """
    const Real = EventSource;
    window.streams = [];
    window.EventSource = class extends Real {
        constructor(...args) { super(...args); window.streams.push(this); }
    };
    """
    await page.add_init_script(streams)
    await page.goto(batch_path(batch_id))
    assert await page.evaluate("streams.map((one) => one.readyState)") == [2]  # closed
    await is_live_again(page, yard, batch_id)


async def test_labels_are_downloaded_as_one_pdf(page: Page, yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, state=BatchState.COMPLETED)
    ids = await factories.make_items(
        yard.db, team=yard.team, batch_id=batch_id, n=2, phase=Phase.DONE, status="booked",
        payload={"parcels": [{"gross_weight": 540}], "delivery": {"carrier": "postnord"}},
    )  # fmt: skip
    await yard.execute(
        "UPDATE item_data SET result = jsonb_build_object('parcels', jsonb_build_array("
        "jsonb_build_object('tracking_code', '003' || position))) WHERE item_id = ANY(%s)",
        [list(ids)],
    )
    await page.goto(batch_path(batch_id, "/results"))
    async with page.expect_download() as coming:
        await page.get_by_role("link", name="Labels (PDF)").click()
    download = await coming.value
    assert download.suggested_filename == f"labels-{batch_id}.pdf"
    labels = PdfReader(await download.path())
    assert len(labels.pages) == 2
