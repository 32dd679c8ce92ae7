"""Fills in forms of pages as a browser does, so that tests send what people would."""

from html.parser import HTMLParser

UNSENT = frozenset({"checkbox", "radio"})
"""Fields that are sent only where they are ticked."""


class _Reader(HTMLParser):
    """Reads the fields of the form that is sent to a path."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.sent: dict[str, list[str]] = {}
        self._path = path
        self._is_inside = False
        self._area: str | None = None
        self._select: str | None = None
        self._options: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._is_inside = facts.get("action") == self._path
        if not self._is_inside:
            return
        match tag:
            case "input" if facts["type"] not in UNSENT or "checked" in facts:
                self._add(facts["name"], facts.get("value", "on"))
            case "textarea":
                self._area = facts["name"]
                self._add(facts["name"], "")
            case "select":
                self._select, self._options = facts["name"], []
            case "option":
                self._options.append((facts["value"], "selected" in facts))

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self.sent[self._area][-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._area is not None:
            self.sent[self._area][-1] = self.sent[self._area][-1].removeprefix("\n")
            self._area = None
        if tag == "select" and self._select is not None:
            # Without one that is selected it is the first.
            chosen = [value for value, is_selected in self._options if is_selected]
            self._add(self._select, (chosen or [self._options[0][0]])[0])
            self._select = None
        if tag == "form":
            self._is_inside = False

    def _add(self, name: str, value: str) -> None:
        self.sent.setdefault(name, []).append(value)


def form_of(page: str, path: str) -> dict[str, list[str]]:
    """Return the fields of a form of a page as a browser sends them, nothing changed."""
    reader = _Reader(path)
    reader.feed(page)
    return reader.sent
