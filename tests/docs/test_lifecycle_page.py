"""docs/lifecycle.md says what lifecycle.py does."""

import pytest

from batchyard.api.bolna.translate import BATCH_WORDS, Version
from batchyard.lifecycle import (
    BATCH_TRANSITIONS,
    ITEM_TRANSITIONS,
    LONGEST_REFUSED_DELAY,
    REFUSED_DELAY,
    STATUSES_BY_PHASE,
)
from batchyard.models import BatchState, Phase
from tests.docs.pages import page, table

LIFECYCLE = "docs/lifecycle.md"


def test_batch_table_is_the_transitions() -> None:
    rows = table(LIFECYCLE, headed="| state | event | next |")

    said = {(state, event): after for state, event, after in rows}

    assert said == {(str(s), str(e)): str(after) for (s, e), after in BATCH_TRANSITIONS.items()}


def test_batch_drawing_has_every_transition() -> None:
    drawn = page(LIFECYCLE)

    for (state, event), after in BATCH_TRANSITIONS.items():
        assert f"    {state} --> {after}: {event.replace('_', ' ')}\n" in drawn


def test_item_table_is_the_transitions() -> None:
    rows = list(table(LIFECYCLE, headed="| phase | status words | may go to |"))

    following = {phase: set(after.replace("`", "").split()) for phase, _, after in rows}
    words = {phase: set(statuses.replace("`", "").split()) for phase, statuses, _ in rows}

    assert following == {str(p): {str(a) for a in after} for p, after in ITEM_TRANSITIONS.items()}
    assert words == {str(p): set(statuses) for p, statuses in STATUSES_BY_PHASE.items()}


@pytest.mark.parametrize("name", [LIFECYCLE, "docs/providers/http.md"])
def test_wait_after_a_refusal_is_the_one_of_the_code(name: str) -> None:
    said = " ".join(page(name).split())

    assert f"after {REFUSED_DELAY.seconds} second, then twice as long each time" in said
    assert f"at most {LONGEST_REFUSED_DELAY.seconds // 60} minutes" in said


def test_every_phase_is_explained() -> None:
    rows = table(LIFECYCLE, headed="| phase | meaning |")

    assert [row[0] for row in rows] == list(Phase)


def test_every_batch_state_is_translated_for_every_door() -> None:
    rows = list(
        table(LIFECYCLE, headed="| batch | Bolna `2024-01` | Bolna `2026-08` | Smart Send |")
    )

    assert {row[0] for row in rows} == set(BatchState)
    assert all(all(row) for row in rows)


def test_words_of_the_bolna_door_are_those_it_speaks() -> None:
    rows = table(LIFECYCLE, headed="| batch | Bolna `2024-01` | Bolna `2026-08` | Smart Send |")

    for state, older, newer, _ in rows:
        if state != BatchState.IMPORTING:
            assert BATCH_WORDS[Version.V2024][BatchState(state)] == older
            assert BATCH_WORDS[Version.V2026][BatchState(state)] == newer


@pytest.mark.parametrize(
    "word",
    ["batch", "item", "attempt", "outcome", "intent", "turn", "lease", "door", "key", "wake"],
)
def test_glossary_explains_a_word_of_the_house(word: str) -> None:
    explained = {row[0].strip("*"): row[1] for row in table(LIFECYCLE, headed="| word | meaning |")}

    assert explained[word]
