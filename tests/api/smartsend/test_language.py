"""The language of an answer."""

import re
from importlib import resources

import pytest
from babel.messages.pofile import read_po

from batchyard.api.smartsend.catalogue import catalogue
from batchyard.api.smartsend.language import translate
from batchyard.api.smartsend.messages import Message
from batchyard.language import LANGUAGES, negotiate
from batchyard.providers.sandbox_shipments import REASONS

FOLDER = resources.files("batchyard.api.smartsend").joinpath("locale")


@pytest.mark.parametrize(
    "header, team_locale, language",
    [
        (None, None, "en"),
        (None, "da-DK", "da"),
        ("", "da", "da"),
        ("da-DK, da;q=0.9, en;q=0.8", "en", "da"),
        ("en;q=0.5,da;q=0.7", "en", "da"),
        ("EN-us", "da", "en"),
        ("da-Latn-DK", None, "da"),
        ("fr", "da", "da"),
        ("fr", "fr", "en"),
        ("fr, *;q=0.5", "da", "da"),
        ("*, en;q=0", "en", "da"),
        ("en;q=0", "da", "da"),
        ("da;q=0, *", "da", "en"),
        ("fr, da;q=0", "da", "en"),
        ("da;q=0", "da", "en"),
        ("en;q=0", None, "da"),
        ("da;q=0, en;q=0", "da", "da"),
        ("da;q=0.001, en;q=0", "en", "da"),
        ("en;q=1.5, da;q=x, ;;, en-", "da", "da"),
        ("da ; q=0.2 , en ; Q=0.1", "en", "da"),
        ("dansk", "en", "en"),
        (", " * 10_000, "da", "da"),
    ],
)
def test_the_best_supported_language_wins(
    header: str | None, team_locale: str | None, language: str
) -> None:
    assert negotiate(header, team_locale=team_locale) == language


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != "en"])
def test_every_message_is_translated_with_its_gaps(language: str) -> None:
    with FOLDER.joinpath(language, "LC_MESSAGES", "smartsend.po").open("rb") as file:
        translated = {str(one.id): str(one.string) for one in read_po(file) if one.id}

    assert set(translated) == {message.value for message in Message}
    for text, translation in translated.items():
        assert translation
        assert sorted(re.findall(r"\{.*?\}", text)) == sorted(re.findall(r"\{.*?\}", translation))


def test_every_sentence_of_the_sandbox_is_one_of_ours() -> None:
    assert {*REASONS.values()} <= {message.value for message in Message}


def test_gaps_are_filled_after_translation() -> None:
    assert translate(Message.ABOVE, language="en", gt=0.0) == "This must be greater than 0."
    assert translate(Message.ABOVE, language="da", gt=0.5) == "Dette skal være større end 0.5."


def test_every_service_has_a_name_in_every_language() -> None:
    for carrier in catalogue().carriers:
        for service in carrier.services:
            assert set(service.name) == set(LANGUAGES)
    for addon in catalogue().addons:
        assert set(addon.name) == set(LANGUAGES)
