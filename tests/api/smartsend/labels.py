"""Reads labels as a scanner does."""

import pypdfium2
import zxingcpp

DOTS_PER_INCH = 203


def page_count(pdf: bytes) -> int:
    document = pypdfium2.PdfDocument(pdf)
    try:
        return len(document)
    finally:
        document.close()


def page_sizes(pdf: bytes) -> set[tuple[float, float]]:
    """Return the sizes of all pages in centimetres."""
    document = pypdfium2.PdfDocument(pdf)
    try:
        return {
            (round(width / 72 * 2.54, 1), round(height / 72 * 2.54, 1))
            for width, height in (document.get_page_size(n) for n in range(len(document)))
        }
    finally:
        document.close()


def read_barcodes(pdf: bytes) -> list[str]:
    """Return what a scanner reads on each page, printed as a label printer would."""
    document = pypdfium2.PdfDocument(pdf)
    codes = []
    try:
        for number in range(len(document)):
            page = document[number]
            picture = page.render(scale=DOTS_PER_INCH / 72).to_pil()
            found = zxingcpp.read_barcodes(picture)
            codes += [one.text for one in found if one.format == zxingcpp.BarcodeFormat.Code128]
            page.close()
    finally:
        document.close()
    return codes


def page_texts(pdf: bytes) -> list[str]:
    document = pypdfium2.PdfDocument(pdf)
    texts = []
    try:
        for number in range(len(document)):
            page = document[number]
            text = page.get_textpage()
            texts.append(text.get_text_bounded())
            text.close()
            page.close()
    finally:
        document.close()
    return texts
