"""Write the corpus of damaged files: `python -m tests.intake.make_corpus`.

What is expected of each file is said here by hand, never taken from what the program answers.
"""

import gzip
import json
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tests.intake.cases import GOOD, OTHER, Case, csv
from tests.intake.dialects import dialects
from tests.intake.sheets import write_sheet

CORPUS = Path(__file__).with_name("corpus")

SHIPMENT = {
    "currency": "DKK",
    "delivery": {"carrier": "postnord", "service": "home"},
    "parties": {
        "receiver": {
            "address": {
                "address_lines": ["Vej 1"],
                "postal_code": "1234",
                "city": "By",
                "country": "DK",
            },
            "contact": {"name_lines": ["Bo Ek"]},
        }
    },
    "parcels": [{"gross_weight": 500}],
}
FLAT = "currency,carrier,service,name,address,zip,city,country,weight\n"
FLAT_GOOD = "DKK,postnord,home,Bo,Vej 1,1234,By,DK,500\n"


def one(name: str, number: str, code: str) -> Case:
    """Return a list with one bad number between two good ones."""
    content = csv("contact_number,name", f"{GOOD},a", f"{number},b", f"{OTHER},c")
    return Case(name=f"{name}.csv", content=content, accepted=2, refused={3: code})


def numbers() -> list[Case]:
    """Return numbers that spreadsheets and people have spoilt."""
    return [
        one("number-scientific", "4.52012E+11", "phone_scientific_notation"),
        one("number-scientific-comma", '"4,52012E+11"', "phone_scientific_notation"),
        one("number-without-plus", "4520123456", "phone_no_plus"),
        one("number-double-zero", "004520123456", "phone_no_plus"),
        one("number-national", "20123456", "phone_no_plus"),
        one("number-empty", "", "phone_missing"),
        one("number-blank", "   ", "phone_missing"),
        one("number-word", "unknown", "phone_letters"),
        one("number-letter-o", "+452O123456", "phone_letters"),
        one("number-extension", "+4520123456x12", "phone_letters"),
        one("number-two", "+4520123456/+4520123457", "phone_malformed"),
        one("number-hash", "+4520123456#", "phone_malformed"),
        one("number-short", "+4520123", "phone_too_short"),
        one("number-long", "+4520123456789", "phone_too_long"),
        one("number-no-country", "+999123456789", "phone_unknown_country"),
        one("number-na", "#N/A", "phone_letters"),
        one("number-float", "4520123456.0", "phone_malformed"),
        one("number-formula", "=A1", "formula_cell"),
        Case(
            name="number-unassigned.csv",
            content=csv("contact_number", "+11112223333"),
            accepted=1,
            warned={2: "phone_unassigned_range"},
        ),
        Case(
            name="number-written-freely.csv",
            content=csv("contact_number", "+45 20 12 34 56", "(+45) 20-12-34-57", "'+4520123458"),
            accepted=3,
        ),
        Case(
            name="number-marks.csv",
            content=csv(
                "contact_number", "\u202a+4520123456\u202c", "+45\u00a020\u201012\u20133457"
            ),
            accepted=2,
        ),
    ]


def tables() -> list[Case]:
    """Return CSV files whose shape is spoilt."""
    return [
        Case(name="empty.csv", content=b"", file="file_empty"),
        Case(name="only-bom.csv", content=b"\xef\xbb\xbf", file="file_empty"),
        Case(name="only-blank-lines.csv", content=b"\n\r\n \n", file="file_empty"),
        Case(name="only-header.csv", content=csv("contact_number,name"), file="rows_missing"),
        Case(name="no-header.csv", content=csv(f"{GOOD},a", f"{OTHER},b"), file="column_missing"),
        Case(name="no-number.csv", content=csv("name,city", "a,b"), file="column_missing"),
        Case(name="semicolon.csv", content=csv("name;contact_number", f"a;{GOOD}"), accepted=1),
        Case(name="tab.csv", content=csv("name\tcontact_number", f"a\t{GOOD}"), accepted=1),
        Case(name="pipe.csv", content=csv("name|contact_number", f"a|{GOOD}"), accepted=1),
        Case(
            name="separator-line.csv",
            content=csv("sep=;", "contact_number;name", f"{GOOD};a", ending="\r\n"),
            accepted=1,
        ),
        Case(
            name="latin-1.csv",
            content=csv("contact_number,name", f"{GOOD},Jørn", encoding="latin-1"),
            accepted=1,
        ),
        Case(
            name="utf-16.csv",
            content=csv("contact_number,name", f"{GOOD},Jørn", encoding="utf-16"),
            accepted=1,
        ),
        Case(
            name="utf-16-without-bom.csv",
            content=csv("contact_number,name", f"{GOOD},Jørn", encoding="utf-16-le"),
            accepted=1,
        ),
        Case(
            name="mixed-encodings.csv",
            content=csv("contact_number,name", f"{GOOD},Jørn")
            + csv(f"{OTHER},Åse", encoding="latin-1"),
            accepted=2,
        ),
        Case(
            name="classic-mac.csv",
            content=csv("contact_number,name", f"{GOOD},a", f"{OTHER},b", ending="\r"),
            accepted=2,
        ),
        Case(
            name="cells-missing.csv",
            content=csv("contact_number,name,city", f"{GOOD},a", f"{OTHER},b,c"),
            accepted=1,
            refused={2: "cells_missing"},
        ),
        Case(
            name="cells-extra.csv",
            content=csv("contact_number,name", f"{GOOD},Ek, Bo", f"{OTHER},b"),
            accepted=1,
            refused={2: "cells_extra"},
        ),
        Case(
            name="separators-behind.csv",
            content=csv("contact_number,name,,,", f"{GOOD},a,,,", f"{OTHER},b,,,"),
            accepted=2,
        ),
        Case(
            name="quote-not-closed.csv",
            content=csv("contact_number,name", f'{GOOD},"a', f"{OTHER},b"),
            accepted=1,
            refused={2: "quote_not_closed"},
        ),
        Case(
            name="line-break-in-cell.csv",
            content=csv("contact_number,name", f'{GOOD},"a\nb"', "12,c"),
            accepted=1,
            refused={4: "phone_no_plus"},
        ),
        Case(
            name="nul.csv",
            content=csv("contact_number,name", f"{GOOD},a\0b", f"{OTHER},c"),
            accepted=1,
            refused={2: "nul_character"},
        ),
        Case(
            name="formulas.csv",
            content=csv(
                "contact_number,note",
                f'{GOOD},"=HYPERLINK(""http://x"",""y"")"',
                f"{GOOD},@SUM(A1:A9)",
                f"{GOOD},-2+3+cmd|' /C calc'!A0",
                f"{GOOD},= not a formula",
                f"{GOOD},-17",
                f"{GOOD},@handle",
                f"{GOOD},= 1+1",
                f"{GOOD},=  SUM(A1)",
            ),
            accepted=3,
            refused=dict.fromkeys((2, 3, 4, 8, 9), "formula_cell"),
        ),
        Case(
            name="row-too-long.csv.gz",
            content=gzip.compress(
                csv("contact_number,note", f"{GOOD},{'x' * 1_100_000}", f"{OTHER},b"), mtime=0
            ),
            accepted=1,
            refused={2: "row_too_long"},
        ),
        Case(
            name="row-too-long-in-quotes.csv.gz",
            content=gzip.compress(
                csv(
                    "contact_number,note",
                    f'{GOOD},"{"x" * 1_100_000}"',
                    f"{OTHER},b",
                    f'{GOOD},"{"y" * 1_100_000}"',
                ),
                mtime=0,
            ),
            accepted=1,
            refused={2: "row_too_long", 4: "row_too_long"},
        ),
        Case(
            name="too-many-columns.csv",
            content=csv("contact_number," + ",".join(f"c{n}" for n in range(10_000))),
            file="columns_too_many",
        ),
        Case(
            name="same-names.csv",
            content=csv("contact_number,name,name,,contact_number", f"{GOOD},a,b,c,d"),
            accepted=1,
        ),
        Case(name="synonym.csv", content=csv("Name;Tlf.", f"a;{GOOD}"), accepted=1),
        Case(name="picture.csv", content=b"\x89PNG\r\n\x1a\n" + b"\0" * 99, file="format_unknown"),
        Case(name="document.csv", content=b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", file="format_unknown"),
        Case(
            name="old-spreadsheet.xls",
            content=b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 99,
            file="format_unknown",
        ),
        Case(
            name="web-page.csv",
            content=b"<html><body>Not found</body></html>",
            file="column_missing",
        ),
        Case(name="noise.csv", content=bytes(range(256)) * 4, file="header_missing"),
    ]


def packed() -> list[Case]:
    """Return compressed files that are broken or made to harm."""
    good = csv("contact_number,name", f"{GOOD},a")
    packed = gzip.compress(good * 50, mtime=0)
    return [
        Case(name="good.csv.gz", content=gzip.compress(good, mtime=0), accepted=1),
        Case(name="cut-off.csv.gz", content=packed[:-20], file="file_damaged"),
        Case(
            name="damaged.csv.gz", content=packed[:30] + b"!!!!" + packed[34:], file="file_damaged"
        ),
        Case(
            name="twice.csv.gz",
            content=gzip.compress(gzip.compress(good, mtime=0), mtime=0),
            file="format_unknown",
        ),
        Case(
            name="bomb.csv.gz",
            content=gzip.compress(b"contact_number\n" + b"\n" * 80_000_000, mtime=0),
            file="compression_bomb",
        ),
    ]


def objects() -> list[Case]:
    """Return JSON that is broken."""
    good = {"contact_number": GOOD, "name": "a"}
    lines = [
        json.dumps(good),
        '{"contact_number": ',
        "17",
        '"text"',
        "{}",
        "[]",
        json.dumps({"contact_number": 4520123456}),
        '{"contact_number": "+4520123456",}',
    ]
    return [
        Case(
            name="too-many-values.ndjson",
            content=csv(
                json.dumps({"contact_number": GOOD} | {f"c{n}": n for n in range(2000)}),
                json.dumps({"contact_number": OTHER} | {f"c{n}": n for n in range(1999)}),
            ),
            accepted=1,
            refused={1: "values_too_many"},
        ),
        Case(
            name="lines.ndjson",
            content=csv(*lines),
            accepted=1,
            refused={
                2: "json_malformed",
                3: "json_no_object",
                4: "json_no_object",
                5: "column_missing",
                6: "json_no_object",
                7: "phone_no_plus",
                8: "json_malformed",
            },
        ),
        Case(
            name="list.json",
            content=json.dumps([good, 17, None, {"x": 1}, good], indent=1).encode(),
            accepted=2,
            refused={2: "json_no_object", 3: "json_no_object", 4: "column_missing"},
        ),
        Case(name="empty-list.json", content=b"[]", file="rows_missing"),
        Case(name="cut-off.json", content=b'[{"contact_number": "+4520', file="file_damaged"),
        Case(
            name="not-closed.json",
            content=b'[{"contact_number": "+4520123456"}',
            file="file_damaged",
        ),
        Case(
            name="row-not-closed.json",
            content=b'[{"contact_number": "+4520123456", {"contact_number": "+4520123457"}]',
            file="file_damaged",
        ),
        Case(
            name="row-not-closed.ndjson",
            content=csv(json.dumps(good), json.dumps(good)[:-1], '{"name": "a}', json.dumps(good)),
            accepted=2,
            refused={2: "json_malformed", 3: "json_malformed"},
        ),
        Case(
            name="bracket-too-many.json",
            content=b'[{"contact_number": "+4520123456"}}, {"contact_number": "+4520123457"}]',
            accepted=1,
            refused={1: "json_malformed"},
        ),
        Case(
            name="too-deep.json",
            content=json.dumps([good]).encode()[:-1]
            + b", "
            + b'{"a":' * 50
            + b"1"
            + b"}" * 50
            + b"]",
            accepted=1,
            refused={2: "json_too_deep"},
        ),
        Case(
            name="nul.json",
            content=json.dumps([{**good, "name": "a\0b"}, good]).encode(),
            accepted=1,
            refused={1: "nul_character"},
        ),
        Case(name="utf-16.json", content=json.dumps([good]).encode("utf-16"), accepted=1),
        Case(name="bom.json", content=b"\xef\xbb\xbf" + json.dumps([good]).encode(), accepted=1),
        Case(
            name="single-quotes.json",
            content=b"[{'contact_number': '+4520123456'}]",
            refused={1: "json_malformed"},
        ),
    ]


def shipments() -> list[Case]:
    """Return shipments that cannot be booked."""

    def flat(name: str, row: str, code: str) -> Case:
        return Case(
            name=f"shipment-{name}.csv",
            kind="shipment",
            content=(FLAT + FLAT_GOOD + row + "\n").encode(),
            accepted=1,
            refused={3: code},
        )

    return [
        flat("country", "DKK,postnord,home,Bo,Vej 1,1234,By,Denmark,500", "country_unknown"),
        flat("currency", "kr.,postnord,home,Bo,Vej 1,1234,By,DK,500", "currency_unknown"),
        flat("carrier", "DKK,owl,home,Bo,Vej 1,1234,By,DK,500", "carrier_unknown"),
        flat("service", "DKK,postnord,tomorrow,Bo,Vej 1,1234,By,DK,500", "service_unknown"),
        flat("no-city", "DKK,postnord,home,Bo,Vej 1,1234,,DK,500", "value_missing"),
        flat("weight-unit", "DKK,postnord,home,Bo,Vej 1,1234,By,DK,500 g", "number_malformed"),
        flat("weight-negative", "DKK,postnord,home,Bo,Vej 1,1234,By,DK,-5", "number_out_of_range"),
        flat("long-name", f"DKK,postnord,home,{'B' * 300},Vej 1,1234,By,DK,5", "value_too_long"),
        Case(
            name="shipment-postal-code.csv",
            kind="shipment",
            content=(FLAT + FLAT_GOOD.replace("1234", "DK-12345")).encode(),
            accepted=1,
            warned={2: "postal_code_format"},
        ),
        Case(
            name="shipment-no-columns.csv",
            kind="shipment",
            content=csv("name,city", "Bo,By"),
            file="column_missing",
        ),
        Case(
            name="shipments.json",
            kind="shipment",
            content=json.dumps(
                {
                    "data": [
                        SHIPMENT,
                        {**SHIPMENT, "currency": 7},
                        {**SHIPMENT, "parcels": []},
                        {**SHIPMENT, "weight_unit": "stone"},
                        {**SHIPMENT, "parcels": [{"gross_weight": "500"}]},
                        {},
                    ]
                }
            ).encode(),
            accepted=1,
            refused={
                2: "value_invalid",
                3: "value_missing",
                4: "value_unknown",
                5: "number_malformed",
                6: "value_missing",
            },
        ),
    ]


def sheets() -> list[Case]:
    """Return spreadsheets that are spoilt."""
    rows: Sequence[Sequence[object]] = [
        ["contact_number", "name"],
        [GOOD, "a"],
        [4520123456, "number"],
        ["=1+1", "formula"],
        [True, "truth"],
        ["", "empty"],
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.xlsx"
        good = write_sheet(path, rows)
        empty = write_sheet(path, [])
        late = write_sheet(path, rows[:2], first_row=5, first_column=3)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "no spreadsheet")
        other = path.read_bytes()
    return [
        Case(
            name="sheet.xlsx",
            content=good,
            accepted=1,
            refused={
                3: "phone_no_plus",
                4: "formula_cell",
                5: "phone_letters",
                6: "phone_missing",
            },
        ),
        Case(name="sheet-late.xlsx", content=late, accepted=1),
        Case(name="sheet-empty.xlsx", content=empty, file="file_empty"),
        Case(name="sheet-cut-off.xlsx", content=good[:-300], file="file_damaged"),
        Case(name="archive.xlsx", content=other, file="format_unknown"),
        Case(name="sheet.xlsx.gz", content=gzip.compress(late, mtime=0), accepted=1),
    ]


def main() -> None:
    """Write every file, and what is expected of it."""
    CORPUS.mkdir(exist_ok=True)
    expected = {}
    texts = [*numbers(), *tables(), *dialects(), *packed(), *objects(), *shipments()]
    for case in [*texts, *sheets()]:
        (CORPUS / case.name).write_bytes(case.content)
        expected[case.name] = {
            "kind": case.kind,
            "file": case.file,
            "accepted": case.accepted,
            "refused": {str(line): code for line, code in case.refused.items()},
            "warned": {str(line): code for line, code in case.warned.items()},
        }
    text = json.dumps(expected, indent=1, ensure_ascii=False) + "\n"
    (CORPUS / "expected.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
