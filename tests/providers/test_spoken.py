"""Texts are filled from the row, and a row can never add a verb."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.providers.spoken import (
    TEXT_LENGTH,
    Unspeakable,
    check_template,
    write_text,
    write_twiml,
)


def twiml(template: str, **variables: object) -> str:
    return write_twiml(template, variables, language=None, voice=None)


def test_variables_and_braces_are_put_in() -> None:
    said = write_text("Hi { first_name }, {{ok}} {n}", {"first_name": "Åse", "n": 7})
    assert said == "Hi Åse, {ok} 7"


def test_longest_text_that_is_taken_is_written() -> None:
    assert write_text("{a}", {"a": "x" * TEXT_LENGTH}) == "x" * TEXT_LENGTH


def test_number_of_any_size_is_said() -> None:
    assert write_text("{n}, {m}", {"n": 2**64, "m": [-(2**63) - 1]}) == (
        "18446744073709551616, [-9223372036854775809]"
    )


def test_text_becomes_a_verb_with_its_language_and_voice() -> None:
    said = write_twiml("Hej {n}.", {"n": "Bo"}, language="da-DK", voice="Polly.Mads")
    assert said == ('<Response><Say language="da-DK" voice="Polly.Mads">Hej Bo.</Say></Response>')


def test_twiml_keeps_its_verbs() -> None:
    template = (
        '<Response><Play>https://x.example/{id}.mp3</Play><Say voice="{v}">A</Say></Response>'
    )
    assert twiml(template, id="7&8", v='a"b') == (
        "<Response><Play>https://x.example/7&amp;8.mp3</Play>"
        '<Say voice="a&quot;b">A</Say></Response>'
    )


@given(st.text(max_size=50))
def test_no_row_can_add_a_verb(text: str) -> None:
    for template in ("Hello {x}.", '<Response><Say voice="{x}">Hello {x}.</Say></Response>'):
        root = ET.fromstring(twiml(template, x=text))  # noqa: S314  # made just above
        assert [child.tag for child in root] == ["Say"]


@pytest.mark.parametrize(
    "template,variables,code",
    [
        ("Hi {name}", {"Name": "x"}, "variable_missing"),
        ("Hi {name}", {"name": None}, "variable_missing"),
        ("{a}", {"a": "x" * 4000}, "say_too_long"),
    ],
)
def test_row_that_lacks_something_is_named(
    template: str, variables: dict[str, object], code: str
) -> None:
    with pytest.raises(Unspeakable) as caught:
        write_twiml(template, variables, language=None, voice=None)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "template,fault",
    [
        ("Hi {", "'{' at character 4"),
        ("Hi }", "'}' at character 4"),
        ("Hi {}", "is no variable"),
        ("<Response><Say>Hi</Response>", "not well-formed"),
        ("<Response>{a}", "not well-formed"),
    ],
)
def test_template_that_cannot_be_filled_is_refused(template: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        check_template(template)


def test_good_templates_are_taken() -> None:
    check_template("Hi {name}, {{braces}}.")
    check_template('<Response><Say voice="{v}">{a} &amp; {b}</Say></Response>')
