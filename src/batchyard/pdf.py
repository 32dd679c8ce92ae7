"""Puts PDFs together page by page, writing as it goes: memory holds one file, however many come."""

from array import array
from collections.abc import Iterator
from io import BytesIO

from pypdf import PdfReader
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    IndirectObject,
    NameObject,
    NullObject,
    PdfObject,
)

HEADER = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
CATALOGUE, PAGES = 1, 2
"""Numbers of the two objects that are written at the end, when all pages are known."""

TREE_TYPES = ("/Catalog", "/Pages")


class PdfUnreadable(Exception):
    """This is no PDF whose pages can be taken over."""


class PdfJoiner:
    """Write `start`, what each `add` returns, and what `finish` returns, in this order."""

    def __init__(self) -> None:
        # The object of number n begins at offsets[n - 1].
        self._offsets = array("Q", [0, 0])
        self._pages = array("Q")
        self._written = 0

    def start(self) -> bytes:
        """Return the beginning of the file."""
        self._written = len(HEADER)
        return HEADER

    def add(self, pdf: bytes) -> bytes:
        """Return the pages of a file as the next part; raise `PdfUnreadable`, and add nothing."""
        copy = _Copy(first_number=len(self._offsets) + 1)
        try:
            copy.take(PdfReader(BytesIO(pdf)))
        except Exception as error:  # a broken file breaks the library in many ways
            raise PdfUnreadable(str(error)) from error
        self._offsets.extend(self._written + at for at in copy.offsets)
        self._pages.extend(copy.pages)
        part = copy.written.getvalue()
        self._written += len(part)
        return part

    def finish(self) -> bytes:
        """Return the end of the file: the tree of pages, and where each object is."""
        out = BytesIO()
        kids = " ".join(f"{number} 0 R" for number in self._pages)
        ends = {
            CATALOGUE: f"<< /Type /Catalog /Pages {PAGES} 0 R >>",
            PAGES: f"<< /Type /Pages /Count {len(self._pages)} /Kids [{kids}] >>",
        }
        for number, text in ends.items():
            self._offsets[number - 1] = self._written + out.tell()
            out.write(f"{number} 0 obj\n{text}\nendobj\n".encode())
        table_at = self._written + out.tell()
        size = len(self._offsets) + 1
        out.write(f"xref\n0 {size}\n0000000000 65535 f \n".encode())
        for offset in self._offsets:
            out.write(b"%010d 00000 n \n" % offset)
        out.write(
            f"trailer\n<< /Size {size} /Root {CATALOGUE} 0 R >>\n"
            f"startxref\n{table_at}\n%%EOF\n".encode()
        )
        return out.getvalue()


class _Copy:
    """The pages of one file and all they need, under numbers of their own."""

    def __init__(self, *, first_number: int) -> None:
        self._first = first_number
        self._numbers: dict[tuple[int, int], int] = {}
        self._todo: list[tuple[int, PdfObject]] = []
        self.written = BytesIO()
        self.offsets: list[int] = []
        self.pages: list[int] = []

    def take(self, reader: PdfReader) -> None:
        for page in reader.pages:
            # What it inherits is in it by now; its parent is the tree of the new file.
            page.pop(NameObject("/Parent"), None)
            page.pop(NameObject("/StructParents"), None)
            page[NameObject("/Parent")] = _reference(PAGES)
            origin = page.indirect_reference
            number = self._number(None if origin is None else (origin.idnum, origin.generation))
            self.pages.append(number)
            self._todo.append((number, page))
        if not self.pages:
            raise PdfUnreadable("It has no pages.")
        self.offsets = [0] * len(self._todo)
        for number, found in self._objects():
            self._write(number, found)

    def _objects(self) -> Iterator[tuple[int, PdfObject]]:
        while self._todo:
            yield self._todo.pop()

    def _write(self, number: int, found: PdfObject) -> None:
        self._renumber(found)
        missing = number - self._first + 1 - len(self.offsets)
        self.offsets.extend([0] * missing)
        self.offsets[number - self._first] = self.written.tell()
        self.written.write(f"{number} 0 obj\n".encode())
        found.write_to_stream(self.written)
        self.written.write(b"\nendobj\n")

    def _renumber(self, found: PdfObject) -> None:
        """Let every reference inside an object, which is ours to change, lead to the copy."""
        containers: list[PdfObject] = [found]
        while containers:
            container = containers.pop()
            if isinstance(container, DictionaryObject):
                for key, value in list(container.items()):
                    dict.__setitem__(container, key, self._new(value, containers))
            elif isinstance(container, ArrayObject):
                for index, value in enumerate(list.__iter__(container)):
                    list.__setitem__(container, index, self._new(value, containers))

    def _new(self, value: PdfObject, containers: list[PdfObject]) -> PdfObject:
        if not isinstance(value, IndirectObject):
            containers.append(value)
            return value
        if value.pdf is None:
            return value
        key = (value.idnum, value.generation)
        if key not in self._numbers:
            target = value.get_object()
            # A way back into the old tree would bring all of it along.
            if target is None or _is_of_tree(target):
                return NullObject()
            self._todo.append((self._number(key), target))
        return _reference(self._numbers[key])

    def _number(self, key: tuple[int, int] | None) -> int:
        number = self._first + len(self._numbers)
        # A page may be in its tree twice; each time it is a page of its own.
        is_free = key is not None and key not in self._numbers
        self._numbers[key if key is not None and is_free else (-number, 0)] = number
        return number


def _is_of_tree(found: PdfObject) -> bool:
    return isinstance(found, DictionaryObject) and found.get("/Type") in (*TREE_TYPES, "/Page")


def _reference(number: int) -> IndirectObject:
    """Return a reference that is written, never followed."""
    return IndirectObject(number, 0, None)
