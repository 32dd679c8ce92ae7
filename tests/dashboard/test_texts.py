"""What pages say is there in Danish, and nothing is translated that nobody says."""

import re

from babel.messages.pofile import read_po

from batchyard.dashboard import (
    batch_events,
    batches,
    deeds,
    faults,
    new_batch,
    overview,
    rehearsal,
    settings_frame,
    settings_webhooks,
    words,
)
from batchyard.dashboard.batch_head import REHEARSAL, TABS
from batchyard.dashboard.voice import CATALOGUE
from batchyard.intake.verdicts import REFUSALS, WARNINGS
from batchyard.operations import plays, scenes
from batchyard.operations.waiting import PAUSED_BY, REASONS
from tests.dashboard.texts import PACKAGE, in_code, in_operations, in_templates


def danish() -> dict[str, str]:
    with (PACKAGE / "locale/da/LC_MESSAGES/dashboard.po").open("rb") as file:
        return {str(one.id): str(one.string) for one in read_po(file) if one.id}


def in_verdicts() -> set[str]:
    """Return what is said of rows: all of those that are refused, in short of the others."""
    refusals = {text for one in REFUSALS.values() for text in (one.sentence, one.cure)}
    return refusals | {one.sentence for one in WARNINGS.values()}


def test_what_people_see_most_is_danish() -> None:
    seen = in_templates() | {
        *(word for word, _ in words.STATES.values()),
        *(word for word, _ in words.STATUSES.values()),
        *words.KINDS.values(),
        *(text for told in words.KEPT.values() for text in told),
        *(name for name, _ in batches.GROUPS.values()),
        *(tab.name for tab in (REHEARSAL, *TABS)),
        *(section.name for section in settings_frame.SECTIONS),
        *new_batch.DELIMITERS.values(),
        *new_batch.ENCODINGS.values(),
        *new_batch.DUPLICATES.values(),
        *new_batch.POLICIES.values(),
        *rehearsal.BASES.values(),
        *(word for word, _ in settings_webhooks.STATES.values()),
        *settings_webhooks.DEEDS.values(),
        *(text for one in deeds.DEEDS.values() for text in (one.label, one.question, one.done)),
        *batch_events.EVENTS.values(),
        *batch_events.ACTIONS.values(),
        *faults.TITLES.values(),
        *REASONS.values(),
        PAUSED_BY,
        *plays.REMARKS,
        *scenes.REMARKS,
        *in_verdicts(),
        *(page.PLACE.name for page in (overview, batches, new_batch, settings_frame)),
    }
    assert seen - set(danish()) == set()


def test_nothing_is_translated_that_is_not_said() -> None:
    assert set(danish()) - in_templates() - in_code() - in_operations() - in_verdicts() == set()


def test_translations_keep_their_gaps() -> None:
    for text, translation in danish().items():
        assert translation
        assert sorted(re.findall(r"\{.*?\}", text)) == sorted(re.findall(r"\{.*?\}", translation))


def test_text_without_translation_stays_english() -> None:
    assert CATALOGUE.translate("Nobody said that.", language="da") == "Nobody said that."
