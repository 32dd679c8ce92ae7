"""docs/providers/twilio.md and telnyx.md name every code that an answer is judged by."""

import re

from batchyard.providers import telnyx_answers, twilio_answers
from tests.docs.pages import page

RANGE = re.compile(r"(\d{5})(?: to (\d{5}))?")


def test_twilio_page_names_every_code() -> None:
    named: set[int] = set()
    for first, last in RANGE.findall(page("docs/providers/twilio.md")):
        named |= set(range(int(first), int(last or first) + 1))
    judged = (
        twilio_answers.NUMBER_CODES
        | twilio_answers.ACCOUNT_CODES
        | twilio_answers.CREDENTIAL_CODES
        | twilio_answers.CALLBACK_CODES
        | {
            twilio_answers.OPT_OUT_CODE,
            twilio_answers.CONCURRENCY_CODE,
            twilio_answers.NOT_FOUND_CODE,
            twilio_answers.STATE_CODE,
        }
    )
    assert judged - named == set()


def test_telnyx_page_names_every_code_and_cause() -> None:
    text = page("docs/providers/telnyx.md")
    judged = (
        telnyx_answers.CREDENTIAL_CODES | telnyx_answers.CHANNEL_CODES | telnyx_answers.OVER_CODES
    )
    assert [code for code in judged if code not in text] == []
    assert f'"{telnyx_answers.CHANNEL_WORDS}"' in text
    assert [cause for cause in telnyx_answers.CAUSES if f"`{cause}`" not in text] == []
    assert all(code in text for code in telnyx_answers.DECLINED)
