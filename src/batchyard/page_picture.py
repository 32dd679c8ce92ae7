"""Draws the first page of a PDF; a program, because what carriers send is not to be trusted.

`python -m batchyard.page_picture` reads the PDF from its standard input and writes a PNG.
"""

import io
import resource
import sys

import pypdfium2

WIDTH = 640
"""Pixels; sharp on a telephone, small on the wire."""
MOST_MEMORY = 1024**3
MOST_SECONDS = 10


def draw(pdf: bytes) -> bytes:
    """Return the first page as a PNG."""
    document = pypdfium2.PdfDocument(pdf)
    page = document[0]
    picture = page.render(scale=WIDTH / page.get_width()).to_pil().convert("L")
    written = io.BytesIO()
    picture.save(written, format="PNG", optimize=True)
    return written.getvalue()


def main() -> int:
    """Draw what comes in; exit with 1 where it is no PDF."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    try:
        picture = draw(sys.stdin.buffer.read())
    except (pypdfium2.PdfiumError, IndexError, OSError, ValueError, MemoryError):
        return 1
    sys.stdout.buffer.write(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
