"""Rules about the number alone."""

import pytest

from batchyard.contact_rules import SENTENCES, Block, TeamRules
from batchyard.intake.verdicts import REFUSALS

DANES = TeamRules(countries=frozenset({"DK", "SE"}))


@pytest.mark.parametrize(
    "rules,region,is_premium,block",
    [
        (TeamRules(), None, True, None),
        (DANES, "DK", True, None),
        (DANES, "NO", False, Block.COUNTRY_NOT_ALLOWED),
        (DANES, None, False, Block.COUNTRY_NOT_ALLOWED),
        (TeamRules(countries=frozenset()), "DK", False, Block.COUNTRY_NOT_ALLOWED),
        (TeamRules(refuses_premium=True), "DK", True, Block.PREMIUM_RATE),
        (TeamRules(refuses_premium=True), None, False, None),
    ],
)
def test_number_is_judged_by_country_and_price(
    rules: TeamRules, region: str | None, is_premium: bool, block: Block | None
) -> None:
    assert rules.judge(region=region, is_premium=is_premium) == block


def test_rules_are_off_unless_set() -> None:
    assert not TeamRules().limits_attempts
    assert not TeamRules().looks_at_numbers
    assert TeamRules(attempts_per_week=1).limits_attempts


def test_every_block_has_its_sentence_and_every_refusal_its_cure() -> None:
    assert set(SENTENCES) == set(Block)
    assert {str(block) for block in Block} - set(REFUSALS) == {Block.ZONE_UNKNOWN}
