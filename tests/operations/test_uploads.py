"""Files of every format become batches; what is asked of them is done."""

import asyncio
import gzip
import json
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from batchyard.errors import InvalidRequest, NotFound
from batchyard.intake import files, spool
from batchyard.intake.choices import Duplicates, RowPolicy
from batchyard.intake.columns import Columns
from batchyard.intake.options import IntakeOptions
from batchyard.intake.pool import open_pool
from batchyard.models import Kind, Team
from batchyard.operations import contacts, reading
from batchyard.operations.control import cancel_batch
from batchyard.operations.imports import FileImport, import_file, list_uploads, read_upload
from batchyard.operations.mappings import (
    delete_mapping,
    find_columns,
    list_mappings,
    propose_mapping,
    save_mapping,
)
from batchyard.operations.previews import preview_file
from batchyard.operations.reading import RowsRefused
from batchyard.store.db import Database
from tests.clocks import StandingClock
from tests.factories import make_team
from tests.intake.sheets import write_sheet
from tests.operations.lists import (
    CALLS,
    SHIPMENT_HEADER,
    SHIPMENTS,
    check_books,
    rows_of,
    settings,
    shipment_row,
    upload,
)

CSV = b"Mobil;name\n+4520123451;a\n12;b\n+4520123453;c\n"
OBJECTS = [
    {"phone": "+4520123451", "name": "a", "n": 1},
    {"phone": 12, "name": "b"},
    {"phone": "+4520123453", "tags": ["x"]},
]
CODES = {"phone_no_plus": 1}


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


def sheet_of(folder: Path) -> bytes:
    rows: list[list[object]] = [
        ["Mobil", "name"],
        ["+4520123451", "a"],
        [12, "b"],
        ["+4520123453", "c"],
    ]
    return write_sheet(folder / "a.xlsx", rows)


@pytest.mark.parametrize(
    "content", ["phone;имя\n+4520123451;Жанна", '{"имя": "Жанна", "phone": "+4520123451"}']
)
async def test_letters_are_read_as_is_said_and_a_guess_is_told(
    db: Database, team: Team, content: str
) -> None:
    names = "SELECT payload FROM item_data WHERE batch_id = %s"
    guessed = await upload(db, content.encode("cp1251"), team=team)
    assert guessed.report().codes["encoding_guessed"] == 1
    assert await rows_of(db, names, guessed.batch_id) == [({"èìÿ": "Æàííà"},)]
    options = replace(CALLS, encoding="windows-1251")
    said = await upload(db, content.encode("cp1251"), team=team, options=options)
    assert "encoding_guessed" not in said.report().codes
    assert await rows_of(db, names, said.batch_id) == [({"имя": "Жанна"},)]


async def test_turns_go_on_from_block_to_block(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun anew in each block of 4, the first of 3 numbers would have half of all calls."""
    monkeypatch.setattr(reading, "BLOCK_ROWS", 4)
    content = "phone\n" + "".join(f"+45201235{n:02d}\n" for n in range(12))
    await upload(db, content.encode(), team=team)
    turns = "SELECT mod(turn, 3), count(*) FROM item_data GROUP BY 1 ORDER BY 1"
    assert await rows_of(db, turns) == [(0, 4), (1, 4), (2, 4)]


@pytest.mark.parametrize("is_gzipped", [False, True])
@pytest.mark.parametrize("format_", ["csv", "xlsx", "json", "wrapped", "ndjson", "utf-16"])
async def test_calls_come_in_every_format(
    db: Database, team: Team, tmp_path: Path, format_: str, is_gzipped: bool
) -> None:
    content = {
        "csv": CSV,
        "xlsx": sheet_of(tmp_path),
        "json": json.dumps(OBJECTS, indent=1).encode(),
        "wrapped": orjson.dumps({"data": OBJECTS}),
        "ndjson": b"\n".join(map(orjson.dumps, OBJECTS)),
        "utf-16": json.dumps(OBJECTS).encode("utf-16"),
    }[format_]
    importing = await upload(
        db, gzip.compress(content) if is_gzipped else content, team=team, size=100
    )
    report = importing.report()
    assert (report.rows, report.accepted, report.refused) == (3, 2, 1)
    assert {code: n for code, n in report.codes.items() if code != "column_guessed"} == CODES
    found = await rows_of(db, "SELECT number, payload FROM item_data ORDER BY position")
    assert [number for number, _ in found] == ["+4520123451", "+4520123453"]
    if format_ in {"csv", "xlsx"}:
        assert [payload for _, payload in found] == [{"name": "a"}, {"name": "c"}]
    else:
        assert [payload for _, payload in found] == [{"name": "a", "n": 1}, {"tags": ["x"]}]
    assert await rows_of(db, "SELECT line FROM rejected_rows") == [
        (3 if format_ in {"csv", "xlsx"} else 2,)
    ]
    await check_books(db)


@pytest.mark.parametrize("is_gzipped", [False, True])
@pytest.mark.parametrize("format_", ["csv", "xlsx", "json", "ndjson"])
async def test_shipments_come_in_every_format(
    db: Database, team: Team, tmp_path: Path, format_: str, is_gzipped: bool
) -> None:
    table = [SHIPMENT_HEADER, *(shipment_row(n) for n in range(3)), shipment_row(4, country="X")]
    flat = await upload(db, "\n".join(table).encode(), team=team, options=SHIPMENTS)
    assert flat.report().accepted == 3
    payloads = [p for (p,) in await rows_of(db, "SELECT payload FROM item_data ORDER BY position")]
    bad = {**dict(payloads[0]), "currency": "nothing"}  # type: ignore[call-overload]  # an object
    content = {
        "csv": "\n".join(table).encode() + b"\n",
        "xlsx": write_sheet(tmp_path / "a.xlsx", [line.split(",") for line in table]),
        "json": orjson.dumps([*payloads, bad]),
        "ndjson": b"\n".join(map(orjson.dumps, [*payloads, bad])),
    }[format_]
    content = gzip.compress(content) if is_gzipped else content
    importing = await upload(db, content, team=team, options=SHIPMENTS, reference="Friday")
    assert (importing.report().accepted, importing.report().refused) == (3, 1)
    assert await rows_of(
        db,
        "SELECT kind, state, reference, total_rows FROM batches ORDER BY created_at DESC LIMIT 1",
    ) == [("shipment", "open", "Friday", 4)]
    references = "SELECT reference FROM item_data WHERE batch_id = %s ORDER BY position"
    assert await rows_of(db, references, importing.batch_id) == [("R-0",), ("R-1",), ("R-2",)]
    await check_books(db)


@pytest.mark.parametrize(
    "content,code",
    [
        (b"", "file_empty"),
        (b"phone,name\n", "rows_missing"),
        (b"[]", "rows_missing"),
        (b"PK\x03\x04" + b"\0" * 50, "file_damaged"),
        (b"\x1f\x8b\x08\x00broken", "file_damaged"),
        (gzip.compress(gzip.compress(b"phone\n1\n", mtime=0), mtime=0), "format_unknown"),
        (b'[{"phone": "+4520123456"}', "file_damaged"),
        (b"%PDF-1.7 ...", "format_unknown"),
        (b"name,x\n1,2\n", "column_missing"),
    ],
)
async def test_file_that_is_no_list_is_refused_with_a_code_and_leaves_nothing(
    db: Database, team: Team, content: bytes, code: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await upload(db, content, team=team)
    assert refused.value.code == code
    assert await rows_of(db, "SELECT id FROM batches UNION ALL SELECT id FROM uploads") == []


async def test_all_or_nothing_takes_nothing_and_tells_the_verdicts(
    db: Database, team: Team
) -> None:
    options = replace(CALLS, policy=RowPolicy.ALL_OR_NOTHING)
    with pytest.raises(RowsRefused) as refused:
        await upload(db, CSV, team=team, options=options)
    report = refused.value.report
    assert (report.rows, report.refused) == (3, 1)
    assert [(row.line, row.code) for row in report.first_refusals] == [(3, "phone_no_plus")]
    assert await rows_of(db, "SELECT id FROM batches UNION ALL SELECT id FROM uploads") == []
    good = await upload(db, CSV.replace(b"12;b\n", b""), team=team, options=options)
    assert good.report().accepted == 2


Check = Callable[[Database, Team, IntakeOptions], Awaitable[list[tuple[object, ...]]]]


@pytest.mark.parametrize(
    "policy,expected",
    [
        (Duplicates.KEEP, (5, [], [(4, "duplicate_in_file"), (6, "duplicate_in_file")])),
        (Duplicates.SKIP, (3, [], [(4, "duplicate_skipped"), (6, "duplicate_skipped")])),
        (Duplicates.REFUSE, (3, [(4, "duplicate_in_file"), (6, "duplicate_in_file")], [])),
    ],
)
async def test_duplicates_in_the_file_are_treated_as_asked(
    db: Database,
    team: Team,
    monkeypatch: pytest.MonkeyPatch,
    policy: Duplicates,
    expected: tuple[int, list[tuple[int, str]], list[tuple[int, str]]],
) -> None:
    items, refused, remarks = expected
    monkeypatch.setattr(reading, "BLOCK_ROWS", 2)
    numbers = ["+4520123451", "+4520123452", "+45 20 12 34 51", "+4520123453", "+4520123452"]
    content = "\n".join(["contact_number,n", *(f"{n},{i}" for i, n in enumerate(numbers))])
    importing = await upload(
        db, content.encode(), team=team, options=replace(CALLS, duplicates=policy)
    )
    assert await rows_of(db, "SELECT count(*) FROM items") == [(items,)]
    assert await rows_of(db, "SELECT line, code FROM rejected_rows ORDER BY line") == refused
    assert await rows_of(db, "SELECT line, code FROM row_warnings ORDER BY line") == remarks
    report = importing.report()
    assert report.rows == 5
    assert report.accepted + report.refused + report.skipped == 5
    await check_books(db)


@pytest.mark.parametrize("policy", Duplicates)
async def test_what_the_team_did_lately_is_treated_as_asked(
    db: Database, team: Team, policy: Duplicates
) -> None:
    await upload(db, CSV, team=team)
    await upload(db, CSV, team=await make_team(db))
    content = b"phone,x\n+4520123453,1\n+4520123459,2\n"
    options = replace(CALLS, recent=policy)
    report = (await upload(db, content, team=team, options=options)).report()
    assert (
        report.codes.get(
            "duplicate_recent" if policy is not Duplicates.SKIP else "duplicate_skipped"
        )
        == 1
    )
    assert report.accepted == (2 if policy is Duplicates.KEEP else 1)
    assert report.refused == (1 if policy is Duplicates.REFUSE else 0)
    other = await upload(db, content, team=await make_team(db), options=options)
    assert "duplicate_recent" not in other.report().codes
    off = replace(CALLS, recent=policy, recent_days=0)
    assert (
        "duplicate_recent" not in (await upload(db, content, team=team, options=off)).report().codes
    )
    await check_books(db)


async def test_shipments_are_duplicates_by_their_reference(db: Database, team: Team) -> None:
    content = "\n".join([SHIPMENT_HEADER, shipment_row(1), shipment_row(1), shipment_row(2)])
    options = replace(SHIPMENTS, duplicates=Duplicates.REFUSE, recent=Duplicates.REFUSE)
    report = (await upload(db, content.encode(), team=team, options=options)).report()
    assert dict(report.codes)["duplicate_in_file"] == 1
    again = "\n".join([SHIPMENT_HEADER, shipment_row(2), shipment_row(3, reference="")])
    report = (await upload(db, again.encode(), team=team, options=options)).report()
    assert (report.accepted, dict(report.codes)["duplicate_recent"]) == (1, 1)


async def test_number_not_to_be_contacted_is_refused_in_its_place(db: Database, team: Team) -> None:
    await contacts.add_do_not_contact(db, team=team, number="+4520123451")
    report = (await upload(db, CSV, team=team)).report()
    assert dict(report.codes)["do_not_contact"] == 1
    assert await rows_of(db, "SELECT number FROM item_data") == [("+4520123453",)]
    assert await rows_of(
        db, "SELECT line, cells FROM rejected_rows WHERE code = 'do_not_contact'"
    ) == [(2, ["+4520123451", "a"])]
    await check_books(db)


async def test_very_same_file_is_told_and_can_be_refused(db: Database, team: Team) -> None:
    first = await upload(db, CSV, team=team)
    assert first.report().duplicate_of is None
    second = await upload(db, CSV, team=team)
    assert second.report().duplicate_of == first.batch_id
    assert second.report().codes["same_file"] == 1
    with pytest.raises(InvalidRequest) as refused:
        await upload(db, CSV, team=team, options=replace(CALLS, refuses_same_file=True))
    assert refused.value.code == "same_file"
    assert str(second.batch_id) in refused.value.message
    assert (await upload(db, CSV, team=await make_team(db))).duplicate_of is None
    for one in (first, second):
        await cancel_batch(db, team=team, kind=Kind.CALL, batch_id=one.batch_id)
    assert (await upload(db, CSV, team=team)).duplicate_of is None


async def test_very_same_file_is_told_however_long_it_comes_in(db: Database, team: Team) -> None:
    clock = StandingClock(db.clock())
    db.clock = clock

    async def upload_slowly() -> FileImport:
        async with import_file(db, team=team, options=CALLS) as importing:
            await importing.feed(CSV)
            clock.set(clock() + timedelta(minutes=8))
            await importing.finish_file()
            await importing.open(settings(Kind.CALL))
        return importing

    first, second = await upload_slowly(), await upload_slowly()
    assert second.duplicate_of == first.batch_id
    clock.set(clock() + timedelta(minutes=16))
    assert (await upload(db, CSV, team=team)).duplicate_of is None


async def test_progress_can_be_followed_while_the_file_comes_in(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "READ_BYTES", 1)
    monkeypatch.setattr(reading, "BLOCK_ROWS", 100)
    options = replace(CALLS, upload_id=uuid4(), total_bytes=1_000_000)
    assert options.upload_id is not None
    row = b"+4520123456," + b"x" * 500 + b"\n12,\n"
    async with import_file(db, team=team, options=options) as importing:
        await importing.feed(b"phone,x\n" + row * 1000)
        await importing.feed(row * 10)
        seen = await read_upload(db, team=team, upload_id=options.upload_id)
        assert seen.state == "reading"
        assert seen.total_bytes == 1_000_000
        assert 0 < seen.bytes <= importing.staging.bytes
        assert seen.rows == seen.accepted + seen.refused > 1000
        assert [one.id for one in await list_uploads(db, team=team)] == [options.upload_id]
        with pytest.raises(NotFound):
            await read_upload(db, team=await make_team(db), upload_id=options.upload_id)
    assert importing.batch_id == options.upload_id


async def test_progress_of_a_spreadsheet_is_seen_before_its_rows_are(
    db: Database, team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "READ_BYTES", 1)
    monkeypatch.setattr(files, "DETECT_BYTES", 1000)
    monkeypatch.setattr(reading, "SIGN_OF_PROGRESS", timedelta(0))
    upload_id, content = uuid4(), sheet_of(tmp_path)
    async with import_file(db, team=team, options=replace(CALLS, upload_id=upload_id)) as importing:
        for end in (2000, 3000):
            await importing.feed(content[importing.staging.bytes : end])
            seen = await read_upload(db, team=team, upload_id=upload_id)
            assert (seen.state, seen.bytes, seen.rows) == ("reading", end, 0)
        await importing.feed(content[3000:])
        await importing.finish_file()
        await importing.open(settings(Kind.CALL))
    assert (await read_upload(db, team=team, upload_id=upload_id)).rows == 3


async def test_spreadsheet_that_waits_for_others_shows_that_it_lives(
    db: Database, team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SIGN_OF_LIFE", timedelta(microseconds=1))
    upload_id = uuid4()

    async def run_once_it_lived(work: Callable[..., None], folder: str, *, sheet: str) -> None:
        before = await read_upload(db, team=team, upload_id=upload_id)
        async with asyncio.timeout(15):
            while (await read_upload(db, team=team, upload_id=upload_id)) == before:
                pass
        work(folder, sheet=sheet)

    monkeypatch.setattr(reading, "run_apart", run_once_it_lived)
    options = replace(CALLS, upload_id=upload_id)
    assert (await upload(db, sheet_of(tmp_path), team=team, options=options)).report().rows == 3


async def test_mapping_is_saved_used_and_offered_when_its_header_comes_again(
    db: Database, team: Team
) -> None:
    header = b"Kontakt,Fornavn\n"
    content = header + b"+4520123456,Bo\n"
    with pytest.raises(InvalidRequest) as refused:
        await upload(db, b"Wer,Fornavn\n1,2\n", team=team)
    assert refused.value.code == "column_missing"
    mapping = {"Kontakt": "contact_number", "Fornavn": "first_name"}
    await save_mapping(
        db, team=team, kind=Kind.CALL, name="crm", mapping=mapping, header=["Kontakt", "Fornavn"]
    )
    columns = await find_columns(db, team=team, kind=Kind.CALL, name="crm")
    await upload(db, content, team=team, options=IntakeOptions(columns=columns))
    assert await rows_of(db, "SELECT number, payload FROM item_data") == [
        ("+4520123456", {"first_name": "Bo"})
    ]
    proposal = await propose_mapping(db, team=team, kind=Kind.CALL, beginning=content)
    assert (proposal.saved_as, dict(proposal.mapping)) == ("crm", mapping)
    other = b"contact_number,Fornavn\n+4520123456,Bo\n"
    assert (await upload(db, other, team=team)).offered_mapping is None
    await save_mapping(
        db,
        team=team,
        kind=Kind.CALL,
        name="other",
        mapping={"Fornavn": "name"},
        header=["contact_number", "Fornavn"],
    )
    assert (await upload(db, other, team=team)).offered_mapping == "other"
    assert [one.name for one in await list_mappings(db, team=team)] == ["crm", "other"]
    await delete_mapping(db, team=team, kind=Kind.CALL, name="crm")
    with pytest.raises(NotFound):
        await find_columns(db, team=team, kind=Kind.CALL, name="crm")
    assert await list_mappings(db, team=await make_team(db)) == []


@pytest.mark.parametrize(
    "kind,mapping",
    [
        (Kind.CALL, {"a": "x", "b": "x"}),
        (Kind.CALL, {"a": " "}),
        (Kind.SHIPMENT, {"a": "parties.receiver.name"}),
    ],
)
async def test_mapping_that_makes_no_sense_is_refused(
    db: Database, team: Team, kind: Kind, mapping: dict[str, str]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await save_mapping(db, team=team, kind=kind, name="x", mapping=mapping)
    assert refused.value.code == "mapping_invalid"


async def test_proposal_says_what_is_missing(db: Database, team: Team) -> None:
    proposal = await propose_mapping(db, team=team, kind=Kind.CALL, beginning=b"a;b\n1;2\n")
    assert (proposal.columns, proposal.missing) == (("a", "b"), ("contact_number",))
    proposal = await propose_mapping(db, team=team, kind=Kind.CALL, beginning=b"Tlf;b\n1;2\n")
    assert (proposal.guessed, proposal.missing) == (("Tlf",), ())


@pytest.mark.parametrize(
    "kind,columns",
    [
        (Kind.CALL, ("phone", "note (a,b,c)")),
        (Kind.SHIPMENT, ("parties.receiver.address.city", "x (a,b,c)")),
    ],
)
async def test_separator_is_told_beforehand_as_the_upload_finds_it(
    db: Database, team: Team, kind: Kind, columns: tuple[str, ...]
) -> None:
    beginning = ";".join(columns).encode() + b"\n1;2\n"
    proposal = await propose_mapping(db, team=team, kind=kind, beginning=beginning)
    assert proposal.columns == columns
    seen = await preview_file(db, team=team, kind=kind, beginning=beginning, is_whole=True)
    assert (seen.delimiter, seen.columns) == (";", columns)


async def test_blocks_are_checked_in_processes_of_their_own_and_stay_in_order(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reading, "BLOCK_ROWS", 50)
    numbers = [f"+4520{n % 700:06d}" for n in range(1000)]
    content = "\n".join(["contact_number", *numbers]).encode()
    async with open_pool(2):
        options = replace(CALLS, duplicates=Duplicates.SKIP)
        report = (await upload(db, content, team=team, options=options)).report()
        assert (report.accepted, report.skipped) == (700, 300)
        assert (await upload(db, sheet_of(tmp_path), team=team)).report().rows == 3
    await check_books(db)


async def test_spreadsheet_leaves_no_file_behind(
    db: Database, team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    orphan = folder / f"{spool.PREFIX}999999999-x"
    orphan.mkdir()
    await upload(db, sheet_of(tmp_path), team=team)
    assert list(folder.iterdir()) == []
    with pytest.raises(InvalidRequest):
        await upload(db, sheet_of(tmp_path)[:900], team=team)
    assert list(folder.iterdir()) == []


async def test_columns_that_are_no_shipments_are_told(db: Database, team: Team) -> None:
    content = f"{SHIPMENT_HEADER},Notes\n{shipment_row()},hello\n"
    report = (await upload(db, content.encode(), team=team, options=SHIPMENTS)).report()
    assert report.codes["column_unknown"] == 1
    reasons = "SELECT reason FROM row_warnings WHERE code = 'column_unknown'"
    ((reason,),) = await rows_of(db, reasons)
    assert "'Notes'" in str(reason)
    assert Columns().kind is Kind.CALL
