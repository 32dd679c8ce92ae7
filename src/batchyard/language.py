"""The language of an answer: negotiate it (RFC 9110, 12.5.4) and translate into it."""

import re
from collections.abc import Iterable
from functools import cached_property
from importlib import resources

from babel.core import negotiate_locale
from babel.messages.pofile import read_po

LANGUAGES = ("en", "da")
"""What display text is there in; English is written in the code, the others in `locale/`."""
DEFAULT_LANGUAGE = "en"

# language-range [ OWS ";" OWS "q=" qvalue ]
_WEIGHTED = re.compile(
    r"\s*(?P<range>\*|[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)"
    r"\s*(?:;\s*[qQ]\s*=\s*(?P<q>0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?"
)


def negotiate(header: str | None, *, team_locale: str | None) -> str:
    """Return the best language we have: the header's, else the team's, else English."""
    ranges = _by_preference(header or "")
    refused = {tag for tag, quality in ranges if quality == 0}
    # What nobody asked for comes in our own order: the team's language first.
    others = [*_lookup([team_locale] if team_locale else []), DEFAULT_LANGUAGE, *LANGUAGES]
    allowed = [language for language in others if language not in refused]
    for tag, quality in ranges:
        if quality == 0:
            continue
        found = allowed if tag == "*" else [one for one in _lookup([tag]) if one not in refused]
        if found:
            return found[0]
    # Where all are refused, one of them is better than none.
    return (allowed or others)[0]


def _by_preference(header: str) -> list[tuple[str, float]]:
    """Return language ranges, best first; what is no language range is passed over."""
    weighted = []
    for part in header.split(","):
        match = _WEIGHTED.fullmatch(part)
        if match:
            weighted.append((match["range"].lower(), float(match["q"] or 1)))
    return sorted(weighted, key=lambda pair: -pair[1])


def _lookup(tags: Iterable[str]) -> list[str]:
    """Return our language for the first tag that has one, dropping subtags from the right."""
    found = negotiate_locale(tags, LANGUAGES, sep="-")
    return [found.lower()] if found else []


class Catalogue:
    """The texts of one package in other languages: `locale/<language>/LC_MESSAGES/<domain>.po`."""

    def __init__(self, package: str, *, domain: str) -> None:
        self._folder = resources.files(package).joinpath("locale")
        self._domain = domain

    def translate(self, text: str, /, *, language: str, **values: object) -> str:
        """Return an English text in another language, its gaps filled in.

        What has no translation stays English.
        """
        translated = self._messages.get(language, {}).get(text, text)
        return translated.format(**values) if values else translated

    @cached_property
    def _messages(self) -> dict[str, dict[str, str]]:
        others = [language for language in LANGUAGES if language != DEFAULT_LANGUAGE]
        return {language: self._read(language) for language in others}

    def _read(self, language: str) -> dict[str, str]:
        path = self._folder.joinpath(language, "LC_MESSAGES", f"{self._domain}.po")
        with path.open("rb") as file:
            catalog = read_po(file, locale=language)
        return {str(message.id): str(message.string) for message in catalog if message.string}
