"""Refused rows come out of the dashboard and go back in: what is told of them."""

import io
from pathlib import Path
from urllib.parse import unquote
from uuid import UUID

import pytest

from batchyard.dashboard.frame import NOTICE_COOKIE
from tests.dashboard.conftest import Yard, batch_path
from tests.intake.sheets import write_sheet
from tests.operations.lists import add, upload

pytestmark = pytest.mark.asyncio(loop_scope="session")

FILE = b"contact_number,name\n+4520123451,a\n12,b\n13,c\n"


async def load(yard: Yard) -> UUID:
    """Upload a list with two refused rows."""
    return (await upload(yard.db, FILE, team=yard.team)).batch_id


async def test_rows_that_fit_into_no_spreadsheet_come_as_csv(yard: Yard, tmp_path: Path) -> None:
    rows: list[list[object]] = [["contact_number", "name"], ["12", "b"]]
    content = write_sheet(tmp_path / "a.xlsx", rows)
    batch_id = (await upload(yard.db, content, team=yard.team)).batch_id
    path = batch_path(batch_id, "/refused/file")
    async with yard.client() as client:
        assert "spreadsheet" in (await client.get(path)).headers["content-type"]
        more = f"contact_number,name\n13,{'x' * 40_000}\n".encode()
        await add(yard.db, more, team=yard.team, batch_id=batch_id)
        assert (await client.get(path)).headers["content-type"] == "text/csv; charset=utf-8"


async def test_file_that_is_sent_again_is_told(yard: Yard) -> None:
    path = batch_path(await load(yard), "/refused/file")
    notices = []
    async with yard.client() as client:
        file = (await client.get(path)).content.replace(b"\r\n12,", b"\r\n+4520123452,")
        for _ in range(2):
            answer = await client.post(path, files={"file": ("mended.csv", io.BytesIO(file))})
            assert answer.status_code == 204, answer.text
            notices.append(unquote(answer.cookies[NOTICE_COOKIE]))
    first, second = notices
    assert first == "1 row was taken. 1 is still refused."
    assert second == (
        "0 rows were taken. 1 is still refused. 1 was mended before. "
        "There is 1 remark. The very same file was uploaded minutes ago."
    )


async def test_row_whose_item_was_taken_out_is_told(yard: Yard) -> None:
    batch_id = await load(yard)
    async with yard.db.transaction() as conn:
        cursor = await conn.execute(
            "UPDATE items SET phase = 'done', status = 'failed' WHERE batch_id = %s RETURNING id",
            (batch_id,),
        )
        found = await cursor.fetchone()
        assert found is not None
        await conn.execute(
            "UPDATE item_data SET payload = '{\"erased\": true}', number = NULL WHERE item_id = %s",
            found,
        )
    file = f"contact_number,name,error_code,error,item_id\n+4520123451,a,e,e,{found[0]}\n"
    async with yard.client() as client:
        answer = await client.post(
            batch_path(batch_id, "/refused/file"),
            files={"file": ("mended.csv", io.BytesIO(file.encode()))},
        )
    assert answer.status_code == 204, answer.text
    told = unquote(answer.cookies[NOTICE_COOKIE])
    assert told == "0 rows were taken. 1 is not sent again."
