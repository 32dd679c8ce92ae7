"""The same shipping labels in ZPL II, for label printers of 8 dots a millimetre; pure."""

from collections.abc import Iterator

from barcode import Code128

from batchyard.providers.labels import (
    INNER,
    MARGIN,
    MOST_RECEIVER_LINES,
    MOST_SENDER_LINES,
    QUIET_MODULES,
    RECEIVER_ROOM,
    SENDER_ROOM,
    Label,
    fitting_lines,
    printable,
    sentence_lines,
    shrink_for,
)

DOTS = 8
"""A millimetre at 203 dpi."""
WIDTH_DOTS, HEIGHT_DOTS = 100 * DOTS, 150 * DOTS
HEAD = ("^XA", "^CI28", f"^PW{WIDTH_DOTS}^LL{HEIGHT_DOTS}^LH0,0")

RESERVED = str.maketrans({char: f"_{ord(char):02X}" for char in "^~_\\"})
"""What ZPL takes for its own; written in hexadecimal, as `^FH` allows."""


def render_zpl(label: Label) -> bytes:
    """Write the label as one ZPL format, in UTF-8."""
    return ("\n".join(_commands(label)) + "\n").encode()


def render_zpl_sentence(sentence: str) -> bytes:
    """Write a format that says why there is no label on it."""
    lines = [
        _text(line, x=MARGIN, y=56 + index * 7, size=5, width=INNER)
        for index, line in enumerate(sentence_lines(sentence))
    ]
    return ("\n".join((*HEAD, *lines, "^XZ")) + "\n").encode()


def _commands(label: Label) -> Iterator[str]:
    yield from HEAD
    yield from _band(label)
    yield from _sender(label)
    yield from _receiver(label)
    yield from _cells(label)
    yield from _barcode(label)
    yield "^XZ"


def _band(label: Label) -> Iterator[str]:
    yield _box(MARGIN, MARGIN, INNER, 15, thickness=15)
    yield _text(label.carrier, x=MARGIN + 3, y=MARGIN + 4, size=8, is_reversed=True)
    yield _text(label.service, x=50, y=MARGIN + 5, size=5, width=42, align="R", is_reversed=True)


def _sender(label: Label) -> Iterator[str]:
    known = label.sender or ((label.booking,) if label.booking else ())
    lines = fitting_lines(known, most=MOST_SENDER_LINES)
    yield _text("FROM" if label.sender else "BOOKING", x=MARGIN, y=22, size=2.4)
    scale = shrink_for(lines, room=SENDER_ROOM)
    for index, line in enumerate(lines):
        y = 25.5 + index * 3.7 * scale
        yield _text(line, x=MARGIN, y=y, size=3.2 * scale, width=58)
    yield _text("PARCEL", x=66, y=22, size=2.4)
    yield _text(f"{label.parcel} / {label.parcels}", x=66, y=25, size=5)
    if label.weight:
        yield _text("WEIGHT", x=66, y=32, size=2.4)
        yield _text(label.weight, x=66, y=35, size=4)
    yield _rule(42)


def _receiver(label: Label) -> Iterator[str]:
    yield _text("TO", x=MARGIN, y=44, size=2.4)
    lines = fitting_lines(label.receiver, most=MOST_RECEIVER_LINES)
    scale = shrink_for(lines, room=RECEIVER_ROOM)
    y = 48.0
    for index, line in enumerate(lines):
        size = 5.2 if index in {0, len(lines) - 1} else 4.2
        yield _text(line, x=MARGIN, y=y, size=size * scale, width=INNER)
        y += 6.2 if len(lines) < 6 else 5.1 * scale
    yield _text(label.country.upper(), x=MARGIN, y=y, size=4.2 * scale, width=INNER)
    yield _rule(91)


def _cells(label: Label) -> Iterator[str]:
    yield _text("REFERENCE", x=MARGIN, y=93, size=2.4)
    yield _text(label.reference or "-", x=MARGIN, y=98, size=4.6, width=66)
    yield _text(label.country_code, x=75, y=94, size=10, width=20, align="C")
    yield _rule(106)


def _barcode(label: Label) -> Iterator[str]:
    modules = len(Code128(label.tracking_code).build()[0]) + 2 * QUIET_MODULES
    module = max(1, min(4, int(INNER * DOTS / modules)))
    left = int((WIDTH_DOTS - module * (modules - 2 * QUIET_MODULES)) / 2)
    # A: the printer chooses the subsets, so its bars are as many as ours.
    yield f"^BY{module}^FO{left},{111 * DOTS}^BCN,{25 * DOTS},N,N,N,A^FH^FD{_data(label)}^FS"
    yield _text(label.tracking_code, x=MARGIN, y=138, size=4.2, width=INNER, align="C")
    if label.notice is not None:
        yield _text(label.notice, x=MARGIN, y=145, size=2.2, width=INNER, align="C")


def _data(label: Label) -> str:
    return label.tracking_code.translate(RESERVED)


def _text(
    raw: str,
    *,
    x: float,
    y: float,
    size: float,
    width: float = 45,
    align: str = "L",
    is_reversed: bool = False,
) -> str:
    """Write one line; too long, it is cut by the block's single line."""
    height = int(size * DOTS)
    reverse = "^FR" if is_reversed else ""
    return (
        f"^FO{int(x * DOTS)},{int(y * DOTS)}{reverse}^A0N,{height},{height}"
        f"^FB{int(width * DOTS)},1,0,{align},0^FH^FD{_fitting(raw, width, size)}^FS"
    )


def _fitting(raw: str, width: float, size: float) -> str:
    # The scalable font is half as wide as high on average; a second line would overprint the first.
    text = printable(raw)
    room = max(1, int(width / (size * 0.5)))
    cut = text if len(text) <= room else text[: max(1, room - 3)] + "..."
    return cut.translate(RESERVED)


def _box(x: float, y: float, width: float, height: float, *, thickness: float) -> str:
    sizes = ",".join(str(int(one * DOTS)) for one in (width, height, thickness))
    return f"^FO{int(x * DOTS)},{int(y * DOTS)}^GB{sizes}^FS"


def _rule(y: float) -> str:
    return f"^FO{int(MARGIN * DOTS)},{int(y * DOTS)}^GB{int(INNER * DOTS)},3,3^FS"
