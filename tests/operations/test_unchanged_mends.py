"""A mend file that is sent back as it came: no failed item loses or gains anything by it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from uuid import UUID

import orjson
import pytest

from batchyard.intake import columns
from batchyard.intake.columns import Columns
from batchyard.intake.files import Format
from batchyard.intake.mend_files import Column, Layout, MendRow
from batchyard.intake.options import IntakeOptions
from batchyard.models import Team
from batchyard.operations import mends
from batchyard.store.db import Database
from batchyard.store.taken_out import ERASED, EXPIRED
from tests.factories import make_team
from tests.operations.lists import (
    CALLS,
    SHIPMENT_HEADER,
    SHIPMENTS,
    add,
    check_books,
    rows_of,
    shipment_row,
    upload,
)
from tests.operations.test_mends import FAIL, mend_file, read_sheet, read_table, written

CSV = b"contact_number,name\n+4520123451,a\n"
GOODS: dict[str, object] = {
    "items": [
        {
            "sku": None,
            "description": "Mug",
            "quantity": 1,
            "net_weight": None,
            "unit_net_amount": None,
            "country_of_origin": None,
            "hs_code": None,
        }
    ]
}
FAIL_LAST = """
UPDATE items SET phase = 'done', status = 'failed'
 WHERE id = (SELECT item_id FROM item_data ORDER BY position DESC LIMIT 1)
RETURNING id
"""
FAIL_OBJECTS = """
UPDATE items SET phase = 'done', status = 'failed'
 WHERE id IN (SELECT item_id FROM item_data WHERE position > 2)
RETURNING id
"""
ITEMS = "SELECT number, payload FROM item_data ORDER BY position"
OBJECTS = (Format.JSON, Format.NDJSON)
TABLES = (Format.CSV, Format.XLSX)


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


async def send_back(
    db: Database,
    team: Team,
    batch_id: UUID,
    *,
    format_: Format | None = None,
    options: IntakeOptions = CALLS,
) -> int:
    """Send the mend file as it is; return how many items it corrects."""
    content = await mend_file(db, team, batch_id, format_=format_)
    report = await add(db, content, team=team, batch_id=batch_id, options=options)
    assert (report.accepted, report.refused) == (0, 0), report
    await check_books(db)
    return report.corrected


@pytest.mark.parametrize("format_", Format)
async def test_value_that_no_table_had_a_column_for_is_kept(
    db: Database, team: Team, format_: Format
) -> None:
    batch_id = (await upload(db, CSV, team=team)).batch_id
    row = {"contact_number": "+4520123452", "name": "b", "offer": "B", "tone": "-ring"}
    await add(db, orjson.dumps(row), team=team, batch_id=batch_id)
    await rows_of(db, FAIL_LAST)
    before = await rows_of(db, ITEMS)
    assert await send_back(db, team, batch_id, format_=format_) == 1
    assert await rows_of(db, ITEMS) == before
    assert await rows_of(db, "SELECT try FROM items ORDER BY try") == [(1,), (2,)]


@pytest.mark.parametrize("format_", Format)
async def test_value_that_a_correction_added_is_kept(
    db: Database, team: Team, format_: Format
) -> None:
    batch_id = (await upload(db, CSV, team=team)).batch_id
    payload = {"name": "a", "offer": "B"}
    await rows_of(db, "UPDATE item_data SET payload = %s::jsonb RETURNING item_id", text(payload))
    await rows_of(db, FAIL)
    assert await send_back(db, team, batch_id, format_=format_) == 1
    assert await rows_of(db, ITEMS) == [("+4520123451", payload)]


async def test_objects_keep_what_a_later_table_has_no_column_for(db: Database, team: Team) -> None:
    row = {"contact_number": "+4520123452", "first_name": "b", "policy": {"id": [7]}, "x": None}
    batch_id = (await upload(db, orjson.dumps(row), team=team)).batch_id
    content = b"contact_number,first_name,note\n+4520123451,a,n\n"
    await add(db, content, team=team, batch_id=batch_id)
    await rows_of(db, FAIL)
    before = await rows_of(db, ITEMS)
    assert await send_back(db, team, batch_id) == 2
    assert await rows_of(db, ITEMS) == before


@pytest.mark.parametrize("format_", Format)
@pytest.mark.parametrize(
    "head", ["phone,phone,note", "Phone,phone,note", "phone,note,note", "phone,note,note,note_2"]
)
async def test_columns_of_one_name_are_kept_apart(
    db: Database, team: Team, head: str, format_: Format
) -> None:
    row = ",".join(["+4520123451", "+4520123452", "c", "d"][: head.count(",") + 1])
    batch_id = (await upload(db, f"{head}\n{row}\n".encode(), team=team)).batch_id
    await rows_of(db, FAIL)
    before = await rows_of(db, ITEMS)
    assert await send_back(db, team, batch_id, format_=format_) == 1
    assert await rows_of(db, ITEMS) == before


@pytest.mark.parametrize("format_", Format)
async def test_value_whose_name_a_column_of_another_meaning_has_is_kept(
    db: Database, team: Team, format_: Format
) -> None:
    batch_id = (await upload(db, b"phone,name\n+4520123451,a\n", team=team)).batch_id
    payload = {"name": "a", "phone": "+4520123453"}
    await rows_of(db, "UPDATE item_data SET payload = %s::jsonb RETURNING item_id", text(payload))
    await rows_of(db, FAIL)
    assert await send_back(db, team, batch_id, format_=format_) == 1
    assert await rows_of(db, ITEMS) == [("+4520123451", payload)]


@pytest.mark.parametrize("format_", Format)
@pytest.mark.parametrize("payload", [{"cpr": "x"}, {"cpr": "x", "Cpr": "y"}])
async def test_value_named_as_a_column_that_is_left_out_is_kept(
    db: Database, team: Team, payload: dict[str, object], format_: Format
) -> None:
    options = replace(CALLS, columns=Columns(given=(("CPR", None),)))
    content = b"contact_number,CPR\n+4520123451,0101\n"
    batch_id = (await upload(db, content, team=team, options=options)).batch_id
    await rows_of(db, "UPDATE item_data SET payload = %s::jsonb RETURNING item_id", text(payload))
    # Once more with what the first mend file left behind among the columns of the batch.
    for _ in range(2):
        await rows_of(db, FAIL)
        assert await send_back(db, team, batch_id, format_=format_) == 1
        assert await rows_of(db, ITEMS) == [("+4520123451", payload)]


@pytest.mark.parametrize("format_", Format)
@pytest.mark.parametrize("again", Format)
async def test_value_named_as_a_column_of_another_meaning_is_not_taken_for_it(
    db: Database, team: Team, format_: Format, again: Format
) -> None:
    options = replace(CALLS, columns=Columns(given=(("Name", "first_name"),)))
    batch_id = (
        await upload(db, b"contact_number,Name\n+4520123451,a\n", team=team, options=options)
    ).batch_id
    payload = {"name": "x"}
    await rows_of(db, "UPDATE item_data SET payload = %s::jsonb RETURNING item_id", text(payload))
    for one in (format_, again):
        await rows_of(db, FAIL)
        assert await send_back(db, team, batch_id, format_=one) == 1
        [(_, found)] = await rows_of(db, ITEMS)
        assert isinstance(found, dict)
        # The column itself has to be there, empty: the value stands behind it.
        assert not found.pop("first_name")
        assert found == payload


@pytest.mark.parametrize("format_", Format)
@pytest.mark.parametrize(
    "parcels",
    [
        [GOODS, GOODS | {"gross_weight": 700, "reference": "P-2"}],
        [{}, {}],
        [{}, {"gross_weight": 700}],
        [GOODS, {}, {"gross_weight": 700}, {}],
    ],
)
async def test_further_parcels_of_a_shipment_are_kept(
    db: Database, team: Team, parcels: list[dict[str, object]], format_: Format
) -> None:
    content = f"{SHIPMENT_HEADER}\n{shipment_row()}\n".encode()
    batch_id = (await upload(db, content, team=team, options=SHIPMENTS)).batch_id
    [first] = await payloads(db)
    assert isinstance(first["parcels"], list)
    empty = dict.fromkeys(first["parcels"][0])
    whole = [empty | parcel for parcel in parcels]
    second = {**first, "reference": "R-2", "weight_unit": "kg"}
    row = orjson.dumps(second | {"parcels": parcels})
    await add(db, row, team=team, batch_id=batch_id, options=SHIPMENTS)
    await rows_of(db, FAIL)
    before = await payloads(db)
    assert before == [first, second | {"parcels": whole}]
    assert await send_back(db, team, batch_id, format_=format_, options=SHIPMENTS) == 2
    assert await payloads(db) == before


@pytest.mark.parametrize("is_before", [False, True])
async def test_parcel_without_values_can_be_given_some(
    db: Database, team: Team, is_before: bool
) -> None:
    content = f"{SHIPMENT_HEADER}\n{shipment_row()}\n".encode()
    batch_id = (await upload(db, content, team=team, options=SHIPMENTS)).batch_id
    [first] = await payloads(db)
    second = orjson.dumps(first | {"parcels": [{"gross_weight": 600}, {}]})
    await add(db, second, team=team, batch_id=batch_id, options=SHIPMENTS)
    await rows_of(db, FAIL_LAST)
    head, row = await table_of(db, team, batch_id, Format.CSV)
    assert row[head.index("parcels.1")] == "{}"
    place = 0 if is_before else len(head)
    head.insert(place, "parcels.1.gross_weight")
    row.insert(place, "700")
    back = written(head, row)
    report = await add(db, back, team=team, batch_id=batch_id, options=SHIPMENTS)
    assert report.corrected == 1
    assert "column_unknown" not in report.codes
    weights = "SELECT jsonb_path_query_array(payload, '$.parcels[*].gross_weight') FROM item_data"
    assert await rows_of(db, f"{weights} ORDER BY position DESC LIMIT 1") == [([600, 700],)]


async def test_shipments_of_a_table_come_back_in_its_columns(db: Database, team: Team) -> None:
    content = f"{SHIPMENT_HEADER}\n{shipment_row()}\n".encode()
    batch_id = (await upload(db, content, team=team, options=SHIPMENTS)).batch_id
    await rows_of(db, FAIL)
    table = read_table(await mend_file(db, team, batch_id))
    assert [",".join(row[:-4]) for row in table] == [SHIPMENT_HEADER, shipment_row()]


@pytest.mark.parametrize("format_", OBJECTS)
async def test_object_gets_no_key_that_only_others_have(
    db: Database, team: Team, format_: Format
) -> None:
    batch_id = (await upload(db, CSV, team=team)).batch_id
    row = b'{"contact_number": "+4520123452", "offer": null}'
    await add(db, row, team=team, batch_id=batch_id)
    await rows_of(db, FAIL)
    assert await send_back(db, team, batch_id, format_=format_) == 2
    assert await rows_of(db, ITEMS) == [
        ("+4520123451", {"name": "a"}),
        ("+4520123452", {"offer": None}),
    ]


@pytest.mark.parametrize("format_", TABLES)
async def test_item_that_fails_while_a_table_is_made_comes_in_the_next_one(
    db: Database, team: Team, format_: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = (await upload(db, CSV + b"12,b\n", team=team)).batch_id
    row = {"contact_number": "+4520123453", "name": "c", "offer": "B"}
    await add(db, orjson.dumps(row), team=team, batch_id=batch_id)
    find_columns = mends._find_columns

    async def fail_after(layout: Layout, rows: AsyncIterator[list[MendRow]]) -> tuple[Column, ...]:
        found = await find_columns(layout, rows)
        await rows_of(db, FAIL)
        return found

    monkeypatch.setattr(mends, "_find_columns", fail_after)
    head, *rows = await table_of(db, team, batch_id, format_)
    assert head[:3] == ["contact_number", "name", "error_code"]
    assert [row[:2] for row in rows] == [["12", "b"], ["+4520123451", "a"]]
    monkeypatch.undo()
    head, *rows = await table_of(db, team, batch_id, format_)
    assert head[:3] == ["contact_number", "name", "offer"]
    assert [row[:3] for row in rows][2:] == [["+4520123453", "c", "B"]]


@pytest.mark.parametrize("format_", TABLES)
async def test_item_with_too_many_values_for_a_table_keeps_no_other_row_from_being_mended(
    db: Database, team: Team, format_: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = (await upload(db, CSV + b"12,b\n", team=team)).batch_id
    number = {"contact_number": "+4520123453", "name": "c"}
    wide = {f"value {index}": "x" for index in range(15)}
    for more in (wide, {"offer": "B"}):
        await add(db, orjson.dumps(number | more), team=team, batch_id=batch_id)
    await rows_of(db, FAIL_OBJECTS)
    before = await rows_of(db, ITEMS)
    for module in (columns, mends):
        monkeypatch.setattr(module, "MAX_COLUMNS", 20)
    head, *rows = await table_of(db, team, batch_id, format_)
    assert head[:4] == ["contact_number", "name", "offer", "error_code"]
    assert [row[:3] for row in rows] == [
        ["12", "b", ""],
        ["+4520123453", "c", "B"],
    ]
    objects = (await mend_file(db, team, batch_id, format_=Format.NDJSON)).splitlines()
    assert [wide.items() <= orjson.loads(one).items() for one in objects].count(True) == 1
    rows[0][0] = "+4520123452"
    report = await add(db, written(head, *rows), team=team, batch_id=batch_id)
    assert (report.accepted, report.corrected, report.refused) == (1, 1, 0)
    mended = ("+4520123452", {"name": "b", "offer": ""})
    assert await rows_of(db, ITEMS) == [before[0], mended, *before[1:]]
    await check_books(db)


async def test_refused_row_with_too_many_values_for_a_table_is_in_it(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = {"contact_number": "12"} | {f"value {index:02}": "x" for index in range(20)}
    batch_id = (await upload(db, orjson.dumps(wide), team=team)).batch_id
    monkeypatch.setattr(mends, "MAX_COLUMNS", 20)
    head, *rows = await table_of(db, team, batch_id, Format.CSV)
    assert len(head) == 20
    assert [row[head.index("error_code")] for row in rows] == ["phone_no_plus"]


@pytest.mark.parametrize("left", [ERASED, EXPIRED])
async def test_item_whose_content_was_taken_out_is_in_no_mend_file(
    db: Database, team: Team, left: str
) -> None:
    content = CSV + b"+4520123452,b\n"
    batch_id = (await upload(db, content, team=team)).batch_id
    await rows_of(db, FAIL)
    taken = "UPDATE item_data SET payload = %s::jsonb WHERE position = 2 RETURNING item_id"
    await rows_of(db, taken, left)
    table = read_table(await mend_file(db, team, batch_id))
    assert [row[:3] for row in table] == [
        ["contact_number", "name", "error_code"],
        ["+4520123452", "b", "failed"],
    ]


async def table_of(db: Database, team: Team, batch_id: UUID, format_: Format) -> list[list[str]]:
    content = await mend_file(db, team, batch_id, format_=format_)
    if format_ is Format.CSV:
        return read_table(content)
    return [[str(cell) for cell in row] for row in read_sheet(content)]


def text(payload: Mapping[str, object]) -> str:
    return orjson.dumps(payload).decode()


async def payloads(db: Database) -> list[dict[str, object]]:
    """Return what shipments have, without the ids that parcels get whenever they come in."""
    found: list[dict[str, object]] = []
    for (payload,) in await rows_of(db, "SELECT payload FROM item_data ORDER BY position"):
        assert isinstance(payload, dict)
        parcels = [{**one, "uuid": None} for one in payload["parcels"]]
        found.append({**payload, "parcels": parcels})
    return found
