import re
import zlib
from dataclasses import replace

import pytest
from barcode import Code128

from batchyard.providers.labels import Label, printable, render_label
from batchyard.providers.sandbox_shipments import check_digit, labels, tracking_codes
from batchyard.providers.zpl_labels import render_zpl
from tests.providers.requests import make_shipment

LABEL = Label(
    carrier="PostNord",
    service="Home",
    receiver=("Åse Østergård", "Skovvej 4", "8000 Aarhus C"),
    country="Denmark",
    country_code="DK",
    tracking_code="00370712345678901234",
    reference="WEB-24001",
)


def page_content(pdf: bytes) -> str:
    """Return the drawing of the page, the first compressed stream."""
    stream = re.search(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    assert stream is not None
    return zlib.decompress(stream[1]).decode("latin-1")


def test_label_is_one_page_of_10_by_15_cm() -> None:
    pdf = render_label(LABEL)
    assert pdf.startswith(b"%PDF-")
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert box is not None
    assert [round(float(side) / 72 * 2.54, 1) for side in box.groups()] == [10.0, 15.0]
    assert pdf.count(b"/Type /Page\n") == 1


def test_label_is_the_same_bytes_for_the_same_input() -> None:
    polish = replace(LABEL, receiver=("Łukasz Żółkiewski", "ul. Długa 4"))
    assert render_label(LABEL) == render_label(LABEL)
    assert render_label(polish) == render_label(polish)
    assert render_label(LABEL) != render_label(polish)


def test_label_shows_receiver_code_and_reference() -> None:
    content = page_content(render_label(LABEL))
    for text in ("Åse Østergård", "8000 Aarhus C", "DENMARK", "WEB-24001", LABEL.tracking_code):
        assert f"({text})" in content


def test_label_shows_the_sender_where_it_is_known() -> None:
    known = page_content(render_label(replace(LABEL, sender=("Demo Shop",), booking="b-1")))
    unknown = page_content(render_label(replace(LABEL, booking="b-1")))
    assert "(FROM)" in known
    assert "(Demo Shop)" in known
    assert "(FROM)" not in unknown
    assert "(b-1)" in unknown


def test_longest_receiver_is_printed_whole_above_the_next_field() -> None:
    names, streets = [[f"{what} {n}" for n in range(1, 5)] for what in ("Name", "Street")]
    receiver = (*names, "Company", *streets, "8000 Aarhus C")
    content = page_content(render_label(replace(LABEL, receiver=receiver)))
    zpl = render_zpl(replace(LABEL, receiver=receiver)).decode()
    for line in receiver:
        assert f"({line})" in content
        assert f"^FD{line}^FS" in zpl
    assert height_of(content, "REFERENCE") < height_of(content, "DENMARK") - 8
    tops = [height_in_zpl(zpl, line) for line in (*receiver, "DENMARK", "REFERENCE")]
    assert tops == sorted(set(tops))


def test_sender_keeps_its_city_however_long_it_is() -> None:
    for streets in range(1, 10):
        lines = ("Demo Shop", "Shop Ltd", *(f"Yard {n}" for n in range(streets)), "2100 Kbh")
        label = replace(LABEL, sender=lines)
        content, zpl = page_content(render_label(label)), render_zpl(label).decode()
        for line in ("Demo Shop", f"Yard {streets - 1}", "2100 Kbh"):
            assert f"({line})" in content
            assert f"^FD{line}^FS" in zpl
        assert height_of(content, "TO") < height_of(content, "2100 Kbh") - 12
        assert height_in_zpl(zpl, "2100 Kbh") < height_in_zpl(zpl, "TO") - 40


def height_of(content: str, text: str) -> float:
    """Return how high above the foot of the page a text stands, in points."""
    found = re.search(rf"BT [\d.]+ ([\d.]+) Td \({text}\)", content)
    assert found is not None
    return float(found[1])


def height_in_zpl(zpl: str, text: str) -> int:
    """Return how far below the head of the label a text stands, in dots."""
    found = re.search(rf"\^FO\d+,(\d+)\S*\^FD{text}\^FS", zpl)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("code", ["00370712345678901234", "JJD014060001234567890", "12345678901"])
def test_bars_of_the_label_are_the_code(code: str) -> None:
    content = page_content(render_label(replace(LABEL, tracking_code=code)))
    drawn = [
        tuple(map(float, numbers))
        for numbers in re.findall(r"([\d.]+) ([\d.]+) ([\d.]+) -?([\d.]+) re f", content)
    ]
    bars = [(x, width) for x, y, width, _ in drawn if y == drawn[-1][1]]
    module = bars[0][1] / 2  # every start sign of Code 128 begins with a bar of two modules
    modules, end = "", bars[0][0]
    for x, width in bars:
        modules += "0" * round((x - end) / module) + "1" * round(width / module)
        end = x + width
    assert modules == Code128(code).build()[0]
    assert bars[0][0] >= 10 * module


def test_long_lines_stay_inside_their_place() -> None:
    name = "Wolfeschlegelsteinhausenbergerdorff " * 4
    content = page_content(render_label(replace(LABEL, receiver=(name, "Skovvej 4"))))
    assert name.strip() not in content
    assert "...)" in content


def test_characters_of_other_alphabets_get_the_other_font() -> None:
    latin = render_label(LABEL)
    cyrillic = render_label(replace(LABEL, receiver=("Пётр Чайковский", "8000 Aarhus C")))
    assert b"DejaVuSans" not in latin
    assert b"+DejaVuSansBold" in cyrillic


@pytest.mark.parametrize(
    "text,shown",
    [
        ("Åse  Øst\nergård", "Åse Øst ergård"),
        ("Łukasz Żółć", "Łukasz Żółć"),
        ("Ångstro\u0308m", "Ångström"),
        ("ﬁne № 4", "fine № 4"),
        ("山田", "??"),
        ("a\u0000b\u200bc\ud800d", "a b c d"),
        ("🎁 gift", "? gift"),
        ("", ""),
    ],
)
def test_printable_keeps_what_can_be_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    "carrier,pattern",
    [
        ("postnord", r"00370\d{15}"),
        ("gls", r"\d{12}"),
        ("dao", r"00057\d{15}"),
        ("bring", r"3707\d{14}"),
        ("dhl", r"JJD\d{18}"),
        ("pigeon", r"BY\d{14}"),
    ],
)
def test_tracking_code_looks_like_the_carriers(carrier: str, pattern: str) -> None:
    for item in range(50):
        for code in tracking_codes(make_shipment(carrier=carrier, parcels=2, item=item)):
            assert re.fullmatch(pattern, code)
            assert check_digit(code[:-1]) == int(code[-1])


def test_check_digit_is_that_of_gs1() -> None:
    assert check_digit("629104150021") == 3
    assert check_digit("37610425002123456") == 9


def test_labels_of_a_shipment_are_numbered_and_weighed() -> None:
    first, second = labels(make_shipment(parcels=2))
    assert (first.parcel, first.parcels, second.parcel) == (1, 2, 2)
    assert first.weight == "1.25 kg"
    assert first.receiver == ("Søren Kjær", "Kjær & Søn ApS", "Skovvej 4", "8000 Aarhus C")
    assert (first.country, first.carrier, first.service) == ("Denmark", "GLS", "Home")
