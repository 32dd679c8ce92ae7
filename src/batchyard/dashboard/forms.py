"""Forms of pages: what was typed, read field by field; all faults at once, each with its cure."""

from collections.abc import Mapping

from fastapi import Request
from starlette.datastructures import FormData

from batchyard.errors import InvalidRequest
from batchyard.models import Rate

MAX_TEXT = 10_000
MOST = 1_000_000

UNITS: Mapping[int, str] = {1: "a second", 60: "a minute", 3600: "an hour", 86400: "a day"}
"""Over how long a rate usually counts, in seconds; the API takes any time up to the longest."""
LONGEST_SECONDS = 31 * 86_400


class Fields:
    """A form that came in. What is wrong is kept until `check`."""

    def __init__(self, form: FormData) -> None:
        self._form = form
        self.faults: dict[str, list[str]] = {}

    def text(self, name: str, *, longest: int = MAX_TEXT) -> str:
        """Return a text, trimmed; empty where the field is missing."""
        given = self._form.get(name)
        text = given.strip() if isinstance(given, str) else ""
        if len(text) > longest:
            self.fault(name, f"Use at most {longest} characters.")
        elif "\0" in text:
            self.fault(name, "Remove the character NUL.")
        return text

    def exact(self, name: str, *, longest: int) -> str:
        """Return a text exactly as it was typed, such as a password, which nothing else trims."""
        given = self._form.get(name)
        text = given if isinstance(given, str) else ""
        if len(text) > longest:
            self.fault(name, f"Use at most {longest} characters.")
        return text

    def texts(self, name: str) -> list[str]:
        """Return every text given under a name."""
        return [given.strip() for given in self._form.getlist(name) if isinstance(given, str)]

    def pairs(self, first: str, second: str) -> list[tuple[str, str]]:
        """Return the texts of two fields that stand side by side, as often as they are there."""
        return list(zip(self.texts(first), self.texts(second), strict=False))

    def flag(self, name: str) -> bool:
        """Tell whether a box was ticked."""
        return name in self._form

    def whole(self, name: str, *, least: int, most: int) -> int | None:
        """Return a whole number, or None where nothing was given."""
        return self.read_whole(name, self.text(name), least=least, most=most)

    def read_whole(self, name: str, text: str, *, least: int, most: int) -> int | None:
        """Read a whole number of a field that may be there several times."""
        if not text:
            return None
        if text.isascii() and text.isdecimal() and len(text) < 19 and least <= int(text) <= most:
            return int(text)
        self.fault(name, f"Enter a whole number from {least} to {most}.")
        return None

    def numbers(self, name: str, *, least: float, most: float) -> tuple[float, ...]:
        """Return numbers with commas between them."""
        read = []
        for part in self.text(name).split(","):
            try:
                number = float(part)
            except ValueError:
                number = -1.0
            if part.strip() and not least <= number <= most:
                self.fault(name, f"Enter numbers from {least:g} to {most:g}, commas between them.")
                return ()
            if part.strip():
                read.append(number)
        return tuple(read)

    def fault(self, name: str, sentence: str) -> None:
        """Note what is wrong with a field."""
        self.faults.setdefault(name, []).append(sentence)

    def check(self) -> None:
        """Raise `InvalidRequest` naming every fault."""
        if self.faults:
            raise InvalidRequest("Some fields are not right yet.", faults=self.faults)


async def read_fields(request: Request) -> Fields:
    """Return the form of a request."""
    return Fields(await request.form())


def read_limits(fields: Fields) -> tuple[int | None, list[Rate]]:
    """Read the fields of limits; raise `InvalidRequest` naming each fault."""
    concurrency = fields.whole("concurrency", least=1, most=MOST)
    rates = []
    for unit, text in fields.pairs("per", "rate"):
        count = fields.read_whole("rate", text, least=1, most=MOST)
        seconds = fields.read_whole("rate", unit, least=1, most=LONGEST_SECONDS)
        if count is not None and seconds is not None:
            rates.append(Rate(count=count, seconds=seconds))
    fields.check()
    return concurrency, rates
