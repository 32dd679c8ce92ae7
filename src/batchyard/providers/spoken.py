"""What a call says: a template filled from the row, escaped for where it is put; pure."""

import html
import re
from collections.abc import Mapping
from xml.parsers import expat

from batchyard.errors import InvalidRequest
from batchyard.json_text import write_json

PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
"""A doubled brace, a variable, or a brace that is neither."""

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has no place for."""

TWIML_LENGTH = 4000
"""The longest TwiML that Twilio takes with a call."""

TEXT_LENGTH = 3000
"""The longest text that Telnyx speaks."""


class Unspeakable(InvalidRequest):
    """A row lacks what its text needs, or makes it too long."""


def check_template(template: str) -> None:
    """Raise `ValueError` when a template cannot be filled, or is TwiML that is no XML."""
    for match in PIECE.finditer(template):
        if match[0] in {"{", "}"} or (match[1] is not None and not match[1].strip()):
            raise ValueError(
                f"{match[0]!r} at character {match.start() + 1} is no variable such as "
                "{first_name}; write {{ or }} for a brace"
            )
    if is_twiml(template):
        filled = PIECE.sub(lambda found: "" if found[1] is not None else found[0][0], template)
        try:
            expat.ParserCreate().Parse(filled, True)  # noqa: FBT003  # positional in the library
        except expat.ExpatError as error:
            raise ValueError(f"the TwiML is not well-formed XML: {error}") from error


def is_twiml(template: str) -> bool:
    """Tell whether a template is TwiML; else it is plain text."""
    return template.lstrip().startswith("<")


def write_text(template: str, variables: Mapping[str, object]) -> str:
    """Write the text of a call; raise `Unspeakable` for what is missing, empty or too long."""
    text = _fill(template, variables, is_xml=False)
    if not text.strip():
        raise Unspeakable("With this row there is nothing to be said.", code="say_empty")
    if len(text) > TEXT_LENGTH:
        raise Unspeakable(
            f"What is to be said has {len(text)} characters; {TEXT_LENGTH} are taken.",
            code="say_too_long",
        )
    return text


def write_twiml(
    template: str, variables: Mapping[str, object], *, language: str | None, voice: str | None
) -> str:
    """Write the TwiML of a call; raise `Unspeakable` naming what the row lacks.

    Variables are escaped, so that a row can add words to a call but never a verb.
    """
    filled = _fill(template, variables, is_xml=is_twiml(template))
    if is_twiml(template):
        twiml = filled
    else:
        said = {"language": language, "voice": voice}
        marks = "".join(f' {name}="{_xml(text)}"' for name, text in said.items() if text)
        twiml = f"<Response><Say{marks}>{_xml(filled)}</Say></Response>"
    if len(twiml) > TWIML_LENGTH:
        raise Unspeakable(
            f"What is to be said has {len(twiml)} characters as TwiML; {TWIML_LENGTH} are taken.",
            code="say_too_long",
        )
    return twiml


def _fill(template: str, variables: Mapping[str, object], *, is_xml: bool) -> str:
    def put(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        name = match[1].strip()
        if name not in variables or variables[name] is None:
            raise Unspeakable(
                f"The text says {{{name}}}, but the row has no {name}.", code="variable_missing"
            )
        text = _plain(variables[name])
        return _xml(text) if is_xml else text

    return PIECE.sub(put, template)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else write_json(value, default=str).decode()


def _xml(text: str) -> str:
    return html.escape(NOT_XML.sub(" ", text), quote=True)
