"""The whole way of a list in a browser: dropped, corrected, rehearsed, started, followed, done."""

import asyncio
import csv
import gzip
import html
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from playwright.async_api import BrowserContext, Locator, Page, Route, expect

from batchyard.config import Config
from batchyard.dashboard.routes import build_door
from batchyard.dashboard.visitors import COOKIE, PREFIX
from batchyard.dashboard.voice import Voice
from batchyard.intake.records import MAX_ROW_CHARACTERS
from batchyard.intake.verdicts import REFUSALS
from batchyard.models import Kind, Rate
from batchyard.operations import rehearsals, sessions
from batchyard.operations.limits import set_limit
from batchyard.operations.scenes import RehearsalSettings
from batchyard.store.db import Database
from tests import factories
from tests.dashboard.conftest import Yard, follow, signed_in
from tests.dashboard.looks import check_page
from tests.intake.sheets import write_sheet
from tests.operations.lists import SHIPMENT_HEADER, shipment_row

pytestmark = pytest.mark.asyncio(loop_scope="session")

LATIN = "latin-1"
ROWS = "".join(f"+45201234{n:02};Bjørn {n};Ærø\n" for n in range(3, 40))
DAMAGED = f"Hvem;Navn;By\n{ROWS}+4520I23412;Carl;Ry\n;Dora;Ribe\n"
"""In Windows' own writing, the number in a column of no usual name, and two rows that are wrong."""
IN_VIEW = "SELECT count(*) FROM batches WHERE team_id = %s AND state <> 'importing'"


async def test_damaged_list_is_corrected_rehearsed_started_and_steered(
    context: BrowserContext, yard: Yard, tmp_path: Path
) -> None:
    team = await factories.make_team(yard.db)
    page = await signed_in(context, yard, team=team)
    file = tmp_path / "gæster.csv"
    file.write_bytes(DAMAGED.encode(LATIN))
    await page.goto(f"{PREFIX}/new")
    await check_page(page)
    await page.get_by_label("File", exact=True).set_input_files(file)
    look = page.locator("#look")
    await expect(look).to_contain_text("CP1252 guessed")
    await expect(look).to_contain_text("semicolon")
    await expect(look).to_contain_text("Bjørn 3")
    await expect(look.get_by_role("alert")).to_contain_text("contact_number")
    await page.get_by_label("Meaning of Hvem").select_option("contact_number")
    await expect(look).to_contain_text("39 looked at, 2 cannot be taken")
    await expect(look.get_by_role("alert")).to_have_count(0)
    await expect(page.get_by_label("Meaning of Hvem")).to_have_value("contact_number")
    await page.get_by_label("Meaning of By").select_option("left out")
    await page.get_by_label("Name", exact=True).fill("Guests")
    # There is no agent yet, so a new one is asked for, before anything is sent.
    await page.get_by_role("button", name="Check all rows").click()
    await expect(page.get_by_label("Name of the new agent")).to_be_focused()
    await expect(page.locator("#progress")).to_be_hidden()
    await page.get_by_label("Name of the new agent").fill("Ann")
    await check_page(page)
    assert await yard.value(IN_VIEW, [team.id]) == 0

    await page.get_by_role("button", name="Check all rows").click()
    await expect(page.get_by_role("heading", name="Guests")).to_be_visible()
    await expect(page.get_by_role("status").first).to_contain_text("37 rows were taken.")
    await expect(page.get_by_role("status").first).to_contain_text("Nothing has started yet.")
    # The first one starts the process that plays.
    await expect(page.locator("#rehearsal")).to_contain_text("Ends about")
    await page.locator("#rehearsal canvas").wait_for()
    await check_page(page)
    batch_id = await yard.value("SELECT id FROM batches WHERE reference = 'Guests'")
    assert await yard.value("SELECT state FROM batches WHERE id = %s", [batch_id]) == "open"

    await follow(page, page.get_by_role("link", name="2 rows were refused."))
    mended = tmp_path / "mended.csv"
    async with page.expect_download() as coming:
        await page.get_by_role("link", name="Download refused rows").click()
    await (await coming.value).save_as(mended)
    text = mended.read_text("utf-8-sig").replace("2OI23412", "20123412").replace("20I2", "2012")
    mended.write_text(text, "utf-8")
    await page.get_by_label("Corrected file").set_input_files(mended)
    await page.get_by_role("button", name="Upload corrected file").click()
    await expect(page.get_by_role("status").first).to_contain_text("1 row was taken.")

    # Now and then one, so that it still runs when it is paused.
    seldom = [Rate(count=1, seconds=60)]
    await set_limit(yard.db, scope=f"batch:{batch_id}", concurrency=1, rates=seldom)
    await follow(page, page.get_by_role("link", name="Rehearsal"))
    await page.get_by_label("When it starts").fill("2099-01-15T10:00")
    await page.get_by_label("When it starts").blur()
    await expect(page.locator("#rehearsal")).to_contain_text("2099")
    async with yard.working():
        await follow(page, page.get_by_role("button", name="Start now").first)
        await expect(page.locator("#batch-head .badge").first).to_have_text("running")
        await page.get_by_role("link", name="Pause").click()
        await follow(page, page.get_by_role("dialog").get_by_role("button", name="Pause"))
        await expect(page.locator("#batch-head .badge").first).to_have_text("paused")
        await set_limit(yard.db, scope=f"batch:{batch_id}", concurrency=None, rates=[])
        await page.get_by_role("link", name="Resume").click()
        await follow(page, page.get_by_role("dialog").get_by_role("button", name="Resume"))
        # Without loading again: the page follows.
        await expect(page.locator("#batch-head .badge").first).to_have_text("completed")
        await page.get_by_role("link", name="Retry failed").click()
        await page.get_by_role("dialog").get_by_role("button", name="Retry failed").click()
        await expect(page.get_by_role("status").first).to_contain_text("tried again")
        await yard.until("SELECT state = 'completed' FROM batches WHERE id = %s", [batch_id])
    await page.get_by_role("link", name="Results").click()
    async with page.expect_download() as coming:
        await page.get_by_role("link", name="CSV", exact=True).click()
    await (await coming.value).save_as(tmp_path / "results.csv")
    results = (tmp_path / "results.csv").read_text("utf-8-sig")
    assert len(list(csv.reader(io.StringIO(results)))) == 1 + 38
    assert "+4520123403" in results
    names = "SELECT array_agg(DISTINCT k) FROM item_data, jsonb_object_keys(payload) AS k"
    assert await yard.value(f"{names} WHERE batch_id = %s AND position = 2", [batch_id]) == ["Navn"]


async def test_list_is_brought_in_and_started_by_keyboard_alone(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "keys.csv"
    file.write_text("mobil,navn\n+4520123403,Ann\n", "utf-8")
    await page.goto(f"{PREFIX}/overview")
    await tab_to(page, page.get_by_role("main").get_by_role("link", name="New batch").first)
    await page.keyboard.press("Enter")
    # A browser takes no keys for a page that it has not painted yet.
    await page.wait_for_url("**/new", wait_until="networkidle")
    choose = page.get_by_label("File", exact=True)
    await tab_to(page, choose)
    await page.evaluate(PAINTED)
    async with page.expect_file_chooser() as asked:
        await page.keyboard.press("Space")
    await (await asked.value).set_files(file)
    meaning = page.get_by_label("Meaning of mobil")
    await expect(meaning).to_have_value("contact_number")
    await tab_to(page, page.get_by_label("Meaning of navn"))
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_label("Meaning of navn")).to_be_focused()
    await tab_to(page, page.get_by_label("Name", exact=True))
    await page.keyboard.type("By keys")
    await tab_to(page, page.locator("[name=agent_id]"))
    await page.keyboard.press("End")
    await tab_to(page, page.get_by_label("Name of the new agent"))
    await page.keyboard.type("Bob")
    await tab_to(page, page.get_by_role("button", name="Check all rows"))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="By keys")).to_be_visible()
    await tab_to(page, page.get_by_role("main").get_by_role("button", name="Start now"))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status").first).to_have_text("The batch was started.")


async def test_agent_is_judged_before_the_file(yard: Yard) -> None:
    picture = {"file": ("people.csv", b"\x89PNG\r\n\x1a\n" + bytes(100))}
    async with yard.client() as client:
        for agent, status, told in (
            ({"agent_id": "new", "agent_name": " "}, 422, "Give the agent a name."),
            ({"agent_id": str(UUID(int=7))}, 404, "There is no such agent."),
        ):
            answer = await client.post(
                f"{PREFIX}/new/upload", data={"kind": "call", **agent}, files=picture
            )
            assert (answer.status_code, told in answer.text) == (status, True), answer.text


async def test_new_agent_is_made_with_its_batch_or_not_at_all(db: Database) -> None:
    team = await factories.make_team(db)
    secret = await sessions.sign_in_with_token(
        db, token=await factories.make_token(db, team=team), address=None
    )
    transport = httpx.ASGITransport(app=build_door(Config(refuse_same_file=True), db))
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://test",
        cookies={COOKIE: secret},
        headers={"X-CSRF-Token": sessions.csrf_token(secret)},
    ) as client:
        answers = [
            await client.post(
                f"{PREFIX}/new/upload",
                data={"kind": "call", "agent_id": "new", "agent_name": name},
                files={"file": ("people.csv", b"contact_number\n+4520123456\n")},
            )
            for name in ("Ann", "Bob")
        ]
    assert [answer.status_code for answer in answers] == [204, 422]
    async with db.pool.connection() as conn:
        found = await conn.execute(
            "SELECT a.name, l.after ->> 'name' FROM agents a"
            " LEFT JOIN audit_log l ON l.subject = a.id::text AND l.action = 'agent.create'"
        )
        assert await found.fetchall() == [("Ann", "Ann")]


@pytest.mark.parametrize("ending", ["\n", "\r\n"], ids=["lf", "crlf"])
async def test_column_with_a_line_break_in_its_name_comes_in(yard: Yard, ending: str) -> None:
    agent_id = await factories.make_agent(yard.db, team=yard.team)
    rows = f'contact_number,"Customer{ending}name",note\n+4520123456,Ann,x\n'
    # As a browser sends them.
    columns = {"column.0": "contact_number", "column.1": "Customer\r\nname", "column.2": "note"}
    said = {"meaning.0": "contact_number", "meaning.1": "", "meaning.2": "-"}
    form = {"kind": "call", "is_whole": "yes", "agent_id": str(agent_id), **columns, **said}
    async with yard.client() as client:
        files = {"file": ("lines.csv", rows.encode())}
        looked = await client.post(f"{PREFIX}/new/look", data=form, files=files)
        assert "1 looked at" in looked.text
        assert "No column was found" not in looked.text
        answer = await client.post(f"{PREFIX}/new/upload", data=form, files=files)
        assert answer.status_code == 204, answer.text
    kept = "SELECT payload FROM item_data WHERE batch_id = %s"
    batch_id = UUID(answer.headers["hx-redirect"].split("/")[-2])
    assert await yard.value(kept, [batch_id]) == {"Customer\nname": "Ann"}


async def test_first_of_two_columns_of_one_name_is_the_number_that_was_chosen(yard: Yard) -> None:
    agent_id = await factories.make_agent(yard.db, team=yard.team)
    said = {"column.0": "Phone", "meaning.0": "contact_number", "column.1": "phone"}
    form = {"kind": "call", "agent_id": str(agent_id), **said, "meaning.1": ""}
    async with yard.client() as client:
        files = {"file": ("two.csv", b"Phone,phone\n+4520123452,+4520123453\n")}
        answer = await client.post(f"{PREFIX}/new/upload", data=form, files=files)
    batch_id = UUID(answer.headers["hx-redirect"].split("/")[-2])
    kept = "SELECT jsonb_build_array(number, payload) FROM item_data WHERE batch_id = %s"
    assert await yard.value(kept, [batch_id]) == ["+4520123452", {"phone": "+4520123453"}]


async def test_upload_that_has_not_begun_shows_nothing_yet(yard: Yard) -> None:
    async with yard.client() as client:
        answer = await client.get(f"{PREFIX}/new/uploads/{UUID(int=7)}")
    assert (answer.status_code, answer.text) == (204, "")


async def test_who_leaves_half_way_leaves_nothing(yard: Yard) -> None:
    before = await yard.value("SELECT count(*) FROM batches")
    agent_id = await factories.make_agent(yard.db, team=yard.team)
    head = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in (("kind", "call"), ("agent_id", str(agent_id)))
    )
    head += '--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    rows = "contact_number,note\n" + f"+4520123456,{'x' * 200}\n" * 5000
    is_in = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield (head + rows).encode()
        await is_in.wait()
        raise ConnectionError

    async with yard.client() as client:
        sending = asyncio.create_task(
            client.post(
                f"{PREFIX}/new/upload",
                content=half(),
                headers={"Content-Type": "multipart/form-data; boundary=x"},
            )
        )
        await yard.until("SELECT count(*) > %s FROM batches WHERE state = 'importing'", [0])
        assert "a.csv" not in (await client.get(f"{PREFIX}/batches")).text
        is_in.set()
        with pytest.raises(ConnectionError):
            await sending
    await yard.until("SELECT count(*) = %s FROM batches", [before])


async def test_verdicts_are_counted_on_the_page_while_the_list_comes_in(
    page: Page, yard: Yard, tmp_path: Path
) -> None:
    file = tmp_path / "long.csv"
    file.write_text("contact_number\n+4520123456\n", "utf-8")
    agent_id = await factories.make_agent(yard.db, team=yard.team)
    asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    is_known, is_over = asyncio.Event(), asyncio.Event()

    async def hold(_: Route) -> None:
        """Let the page's own upload stay on its way; another one stands for its first half."""

    async def tell(route: Route) -> None:
        if not asked.done():
            asked.set_result(route.request.url.rpartition("/")[2])
        await is_known.wait()
        await route.continue_()

    async def half(upload_id: str) -> AsyncIterator[bytes]:
        fields = {"kind": "call", "agent_id": str(agent_id), "upload_id": upload_id}
        for name, value in fields.items():
            head = f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
            yield f"{head}{value}\r\n".encode()
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
        note = "x" * 200
        rows = f"+4520123456,{note}\n+4520I23456,{note}\n+4520123457,{note}\n"
        yield b"contact_number,note\n" + rows.encode() * 2000
        await is_over.wait()
        raise ConnectionError

    await page.route("**/new/upload", hold)
    await page.route("**/new/uploads/*", tell)
    await page.goto(f"{PREFIX}/new")
    await page.get_by_label("File", exact=True).set_input_files(file)
    await expect(page.locator("#look")).to_contain_text("1 looked at")
    await page.locator("[name=agent_id]").select_option(str(agent_id))
    await page.get_by_role("button", name="Check all rows").click()
    async with yard.client() as client:
        sending = asyncio.create_task(
            client.post(
                f"{PREFIX}/new/upload",
                content=half(await asked),
                headers={"Content-Type": "multipart/form-data; boundary=x"},
            )
        )
        try:
            counted = "SELECT coalesce(max(refused), 0) > 0 FROM uploads WHERE id = %s"
            await yard.until(counted, [UUID(await asked)])
            is_known.set()
            told = page.locator("#progress-told")
            for name in ("Rows read", "Taken", "Refused"):
                figure = told.locator(f"div:has(> dt:text-is('{name}')) dd")
                await expect(figure).to_have_text(re.compile(r"^[1-9][\d,]*$"))
            await expect(told).to_contain_text("The phone number contains letters.")
        finally:
            is_over.set()
            with pytest.raises(ConnectionError):
                await sending


async def test_rehearsal_tells_what_it_would_cost(page: Page, yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, kind=Kind.CALL)
    await factories.make_items(
        yard.db, team=yard.team, batch_id=batch_id, n=3, number="+4520123403"
    )
    told = await rehearsals.rehearse_batch(
        yard.db,
        team=yard.team,
        batch_id=batch_id,
        settings=RehearsalSettings(),
        config=yard.config,
    )
    [(currency, cost)] = told.costs.items()
    assert cost.expected > 0
    voice = Voice("en", timezone="UTC", clock=yard.db.clock)

    await page.goto(f"{PREFIX}/batches/{batch_id}/rehearsal")

    shown = page.locator("#rehearsal div:has(> dt:text-is('Cost')) dd")
    await expect(shown).to_contain_text(voice.money(cost.expected, currency))
    # It can be started in one place.
    starts = page.get_by_role("main").get_by_text("Start now", exact=True)
    await expect(starts.filter(visible=True)).to_have_count(1)


async def test_rehearsal_shows_the_time_that_was_chosen_last(page: Page, yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team)
    await factories.make_items(yard.db, team=yard.team, batch_id=batch_id)
    asked: list[str] = []
    may_go_on = asyncio.Event()

    async def hold(route: Route) -> None:
        asked.append(route.request.url.rpartition("?")[2])
        await may_go_on.wait()
        await route.continue_()

    await page.route(re.compile("/rehearsal/result"), hold)
    await page.goto(f"{PREFIX}/batches/{batch_id}/rehearsal")
    await page.get_by_label("When it starts").fill("2099-01-15T10:00")
    await page.evaluate(PAINTED)
    # The first answer is waited for, so it does not come last.
    assert len(asked) == 1
    may_go_on.set()
    await expect(page.locator("#rehearsal")).to_contain_text("2099")
    assert asked[1:] == ["start_at=2099-01-15T10%3A00"]


async def test_batch_is_scheduled_by_a_click(page: Page, yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, reference="Later")
    await factories.make_items(yard.db, team=yard.team, batch_id=batch_id)
    await page.goto(f"{PREFIX}/batches/{batch_id}/rehearsal")
    await page.get_by_label("When it starts").fill("2099-01-15T10:00")

    await page.get_by_role("button", name="Schedule").click()

    told = "The batch starts 15 Jan 2099, 10:00:00 UTC."
    await expect(page.get_by_role("status").first).to_have_text(told)
    await expect(page.locator("#batch-head .badge").first).to_have_text("scheduled")
    await expect(page.get_by_label("When it starts")).to_have_value("2099-01-15T10:00")
    kept = "SELECT state = 'scheduled' AND scheduled_at = '2099-01-15 10:00+00' FROM batches"
    assert await yard.value(f"{kept} WHERE id = %s", [batch_id])


async def test_batch_is_scheduled_where_the_team_is(yard: Yard) -> None:
    team = await factories.make_team(yard.db, timezone="Europe/Copenhagen")
    batch_id = await factories.make_batch(yard.db, team=team)
    await factories.make_items(yard.db, team=team, batch_id=batch_id)
    path = f"{PREFIX}/batches/{batch_id}"
    async with yard.client(team=team) as client:
        late = await client.post(f"{path}/schedule", data={"start_at": "2020-01-01T10:00"})
        assert late.status_code == 422
        none = await client.post(f"{path}/schedule", data={"start_at": "soon"})
        assert none.status_code == 422
        done = await client.post(f"{path}/schedule", data={"start_at": "2099-01-15T10:00"})
        assert done.status_code == 303
        page = await client.get(f"{path}/rehearsal")
        assert 'value="2099-01-15T10:00"' in page.text
        told = await client.get(f"{path}/rehearsal/result?start_at=2099-01-15T10:00")
        assert "15 Jan 2099" in told.text
    kept = "SELECT scheduled_at = '2099-01-15 09:00+00' FROM batches WHERE id = %s"
    assert await yard.value(kept, [batch_id])


async def test_list_of_any_format_is_looked_at(yard: Yard, tmp_path: Path) -> None:
    table = "contact_number;note\n+4520123456;a\n12;b\n"
    sheet = write_sheet(tmp_path / "a.xlsx", [line.split(";") for line in table.split()])
    rows = [{"contact_number": "+4520123456", "note": "a"}, {"contact_number": "12"}]
    lines = "\n".join(json.dumps(row) for row in rows)
    async with yard.client() as client:
        for name, content, format_ in (
            ("a.csv", table.encode("utf-16"), "CSV"),
            ("a.csv.gz", gzip.compress(table.encode()), "CSV (gzip)"),
            ("a.xlsx", sheet, "XLSX"),
            ("a.json", json.dumps(rows).encode(), "JSON"),
            ("a.ndjson", lines.encode(), "NDJSON"),
        ):
            answer = await client.post(
                f"{PREFIX}/new/look",
                data={"kind": "call", "is_whole": "yes"},
                files={"file": (name, content)},
            )
            assert answer.status_code == 200, answer.text
            assert f"<dd>{format_}</dd>" in answer.text, name
            assert "2 looked at" in answer.text, name
            assert "1 cannot be taken" in answer.text, name


SHORT_CALL = "contact_number,name,city\n+4520123456,Ann\n+4520123457,Bo,Ry\n"
SHORT_SHIPMENT = f"{SHIPMENT_HEADER}\n{shipment_row(1).rpartition(',')[0]}\n{shipment_row(2)}\n"
LONG_CALL = SHORT_CALL.replace("Ann", "x" * MAX_ROW_CHARACTERS)
NO_OBJECT = '[{"contact_number": "+4520123457", "name": "Bo"}, 12]'


@pytest.mark.parametrize(
    "kind,rows,code",
    [
        (Kind.CALL, SHORT_CALL, "cells_missing"),
        (Kind.SHIPMENT, SHORT_SHIPMENT, "cells_missing"),
        (Kind.CALL, SHORT_CALL.replace("Ann", "Ann,a,b"), "cells_extra"),
        (Kind.CALL, LONG_CALL, "row_too_long"),
        (Kind.CALL, NO_OBJECT, "json_no_object"),
    ],
    ids=["call", "shipment", "more", "long", "object"],
)
async def test_list_whose_first_row_has_other_cells_is_looked_at(
    yard: Yard, kind: Kind, rows: str, code: str
) -> None:
    async with yard.client() as client:
        answer = await client.post(
            f"{PREFIX}/new/look",
            data={"kind": kind.value, "is_whole": "yes"},
            files={"file": ("a.csv", rows.encode())},
        )
    assert answer.status_code == 200, answer.text
    assert "2 looked at" in answer.text
    assert "1 cannot be taken" in answer.text
    assert REFUSALS[code].sentence in html.unescape(answer.text)
    shown = answer.text.split('<tr><td class="figure line">')[1:]
    assert len({row.partition("</tr>")[0].count("<td") for row in shown}) == 1


async def test_list_is_read_in_the_encoding_that_is_chosen(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "names.csv"
    file.write_bytes("contact_number,имя\n+4520123456,Жанна\n".encode("cp1251"))
    await page.goto(f"{PREFIX}/new")
    await page.get_by_label("File", exact=True).set_input_files(file)
    look = page.locator("#look")
    await expect(look).to_contain_text("Æàííà")
    await page.get_by_label("read the file as").select_option("Cyrillic (windows-1251)")
    await expect(look).to_contain_text("Жанна")
    await expect(page.get_by_label("read the file as")).to_have_value("windows-1251")
    await page.get_by_label("Meaning of имя").select_option("left out")
    await expect(page.get_by_label("Meaning of имя")).to_have_value("-")
    await check_page(page)


PAINTED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


async def tab_to(page: Page, wanted: Locator) -> None:
    """Press the tabulator until the focus is there."""
    for _ in range(60):
        if await wanted.evaluate("element => element === document.activeElement"):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} cannot be reached")
