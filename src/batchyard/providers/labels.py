"""Shipping labels of 10 x 15 cm as PDF; pure, the same input gives the same bytes."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Literal

from barcode import Code128

if TYPE_CHECKING:
    from fpdf import FPDF

WIDTH, HEIGHT, MARGIN = 100.0, 150.0, 5.0
"""Millimetres, as everything here."""
INNER = WIDTH - 2 * MARGIN

MODULE = 0.5
"""Widest bar of one module; long codes get narrower ones."""
QUIET_MODULES = 10
"""White space Code 128 asks for on both sides."""

CREATED_AT = datetime(2026, 1, 1, tzinfo=UTC)
FONTS = Path(__file__).with_name("fonts")

SENDER_ROOM, RECEIVER_ROOM = 4, 7
"""So many lines are printed in full size; more get smaller type."""
MOST_SENDER_LINES, MOST_RECEIVER_LINES = 6, 10
"""Smaller type than that nobody reads. A receiver has no more lines than these."""

Style = Literal["", "B"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """What is printed on one parcel."""

    carrier: str
    service: str
    receiver: tuple[str, ...]
    """Lines of name and address, without the country."""
    country: str
    country_code: str
    tracking_code: str
    """ASCII."""
    sender: tuple[str, ...] = ()
    booking: str | None = None
    """The carrier's name of the shipment; printed where no sender is known."""
    reference: str | None = None
    parcel: int = 1
    parcels: int = 1
    weight: str | None = None
    notice: str | None = None
    """A small line at the foot."""


def render_label(label: Label) -> bytes:
    """Draw the label as a PDF of one page."""
    pdf = _new_page(label)
    _draw_band(pdf, label)
    _draw_sender(pdf, label)
    _draw_receiver(pdf, label)
    _draw_cells(pdf, label)
    _draw_barcode(pdf, label)
    return bytes(pdf.output())


def render_picture(png: bytes) -> bytes:
    """Put a label that came as a picture on a page of the same size as ours."""
    pdf = _empty_page()
    pdf.image(BytesIO(png), x=0, y=0, w=WIDTH, h=HEIGHT, keep_aspect_ratio=True)
    return bytes(pdf.output())


def render_sentence(sentence: str) -> bytes:
    """Draw a page that says why there is no label on it."""
    pdf = _empty_page()
    for index, line in enumerate(sentence_lines(sentence)):
        _write(pdf, line, x=MARGIN, y=60 + index * 7, width=INNER, size=14, style="B")
    return bytes(pdf.output())


def sentence_lines(sentence: str) -> list[str]:
    """Return a sentence in lines that fit a label."""
    return wrap(printable(sentence), 34)[:12]


def printable(text: str) -> str:
    """Return `text` with only characters that a label can show.

    Control characters become spaces. A character missing in the fonts is replaced by what it is
    made of (NFKD, without marks) where that exists, else by a question mark.
    """
    plain = "".join(
        " " if unicodedata.category(char).startswith(("C", "Z")) else char
        for char in unicodedata.normalize("NFC", text)
    )
    plain = " ".join(plain.split())
    if plain.isascii():
        return plain
    return "".join(_shown(char) for char in plain if not unicodedata.combining(char))


def _shown(char: str) -> str:
    known = _known_characters()
    if ord(char) in known:
        return char
    parts = [part for part in unicodedata.normalize("NFKD", char) if ord(part) in known]
    return "".join(part for part in parts if not unicodedata.combining(part)) or "?"


@cache
def _known_characters() -> frozenset[int]:
    from fontTools.ttLib import TTFont

    with TTFont(FONTS / "DejaVuSans-Bold.ttf", lazy=True) as font:
        return frozenset(font.getBestCmap())


def fitting_lines(lines: tuple[str, ...], *, most: int) -> tuple[str, ...]:
    """Return at most so many lines: the first, and the last ones, which hold street and city."""
    return lines if len(lines) <= most else (lines[0], *lines[len(lines) - most + 1 :])


def shrink_for(lines: Sequence[str], *, room: int) -> float:
    """Return what type and spacing are multiplied by, so that the lines take no more room."""
    return min(1.0, room / max(1, len(lines)))


def _new_page(label: Label) -> "FPDF":
    pdf = _empty_page()
    pdf.set_title(f"Label {label.tracking_code}")
    return pdf


def _empty_page() -> "FPDF":
    from fpdf import FPDF

    pdf = FPDF(unit="mm", format=(WIDTH, HEIGHT))
    pdf.set_creation_date(CREATED_AT)
    pdf.set_auto_page_break(auto=False)
    pdf.add_page()
    return pdf


def _set_font(pdf: "FPDF", text: str, *, style: Style, size: float) -> None:
    # The core font needs no embedding (1 ms a label); a TrueType font costs 10 times that.
    if _is_latin_1(text):
        pdf.set_font("Helvetica", style, size)
        return
    if f"dejavu{style}" not in pdf.fonts:
        suffix = "-Bold" if style else ""
        pdf.add_font("dejavu", style, FONTS / f"DejaVuSans{suffix}.ttf")
    pdf.set_font("dejavu", style, size)


def _is_latin_1(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _write(
    pdf: "FPDF",
    raw: str,
    *,
    x: float,
    y: float,
    width: float,
    size: float,
    style: Style = "",
    align: Literal["left", "right", "center"] = "left",
) -> None:
    """Write one line with its baseline at `y`; too long, it shrinks by a third, then is cut."""
    text, least = printable(raw), size * 2 / 3
    if not text:
        return
    _set_font(pdf, text, style=style, size=size)
    needed = pdf.get_string_width(text)
    if needed > width:
        pdf.set_font_size(max(least, size * width / needed))
        while len(text) > 1 and pdf.get_string_width(text) > width:
            text = text[:-4].rstrip() + "..." if text.endswith("...") else text[:-3] + "..."
    slack = width - pdf.get_string_width(text)
    pdf.text(x + {"left": 0, "right": slack, "center": slack / 2}[align], y, text)


def _caption(pdf: "FPDF", text: str, *, x: float, y: float) -> None:
    _write(pdf, text, x=x, y=y, width=30, size=6, style="B")


def _rule(pdf: "FPDF", y: float) -> None:
    pdf.set_line_width(0.4)
    pdf.line(MARGIN, y, WIDTH - MARGIN, y)


def _draw_band(pdf: "FPDF", label: Label) -> None:
    pdf.set_fill_color(0)
    pdf.rect(MARGIN, MARGIN, INNER, 15, style="F")
    pdf.set_text_color(255)
    _write(pdf, label.carrier, x=MARGIN + 3, y=MARGIN + 10.3, width=40, size=24, style="B")
    _write(pdf, label.service, x=52, y=MARGIN + 9.6, width=40, size=13, style="B", align="right")
    pdf.set_text_color(0)


def _draw_sender(pdf: "FPDF", label: Label) -> None:
    top = 24.0
    known = label.sender or ((label.booking,) if label.booking else ())
    lines = fitting_lines(known, most=MOST_SENDER_LINES)
    _caption(pdf, "FROM" if label.sender else "BOOKING", x=MARGIN, y=top)
    scale = shrink_for(lines, room=SENDER_ROOM)
    for index, line in enumerate(lines):
        y = top + 4 + index * 3.7 * scale
        _write(pdf, line, x=MARGIN, y=y, width=56, size=8.5 * scale)
    _caption(pdf, "PARCEL", x=66, y=top)
    _write(
        pdf, f"{label.parcel} / {label.parcels}", x=66, y=top + 5.5, width=29, size=14, style="B"
    )
    if label.weight:
        _caption(pdf, "WEIGHT", x=66, y=top + 10.5)
        _write(pdf, label.weight, x=66, y=top + 15, width=29, size=11)
    _rule(pdf, 42)


def _draw_receiver(pdf: "FPDF", label: Label) -> None:
    _caption(pdf, "TO", x=MARGIN, y=46.5)
    lines = fitting_lines(label.receiver, most=MOST_RECEIVER_LINES)
    scale = shrink_for(lines, room=RECEIVER_ROOM)
    y = 53.5
    for index, line in enumerate(lines):
        is_strong = index in {0, len(lines) - 1}
        _write(
            pdf,
            line,
            x=MARGIN,
            y=y,
            width=INNER,
            size=(15 if is_strong else 12) * scale,
            style="B" if is_strong else "",
        )
        y += 6.2 if len(lines) < 6 else 5.1 * scale
    _write(pdf, label.country.upper(), x=MARGIN, y=y, width=INNER, size=12 * scale)
    _rule(pdf, 91)


def _draw_cells(pdf: "FPDF", label: Label) -> None:
    pdf.line(74, 91, 74, 106)
    _caption(pdf, "REFERENCE", x=MARGIN, y=95.5)
    _write(pdf, label.reference or "-", x=MARGIN, y=102.3, width=66, size=13)
    _write(pdf, label.country_code, x=75, y=103, width=20, size=32, style="B", align="center")
    _rule(pdf, 106)


def _draw_barcode(pdf: "FPDF", label: Label) -> None:
    code = label.tracking_code
    modules = Code128(code).build()[0]
    module = min(MODULE, INNER / (len(modules) + 2 * QUIET_MODULES))
    left = (WIDTH - module * len(modules)) / 2
    for start, length in _bars(modules):
        pdf.rect(left + start * module, 111, length * module, 25, style="F")
    _write(pdf, code, x=MARGIN, y=141.5, width=INNER, size=12, style="B", align="center")
    if label.notice is not None:
        _write(pdf, label.notice, x=MARGIN, y=146.5, width=INNER, size=5.5, align="center")


def _bars(modules: str) -> Iterator[tuple[int, int]]:
    """Yield start and length of each run of dark modules."""
    position = 0
    for module, run in groupby(modules):
        length = len(list(run))
        if module == "1":
            yield position, length
        position += length
