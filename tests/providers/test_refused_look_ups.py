"""A question that is refused for wrong credentials tells nothing of the item, and says so."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from batchyard.models import Accepted, Ended, Finding, Lost
from tests.providers import test_telnyx as telnyx
from tests.providers.fakes.process import Fake
from tests.providers.fakes.twilio_calls import TEST_ACCOUNT, TEST_TOKEN
from tests.providers.karrio_judge import KarrioJudge, faking
from tests.providers.karrio_requests import Kept, ask_for, open_karrio
from tests.providers.requests import make_call
from tests.providers.twilio_surroundings import make_provider


@pytest.fixture(scope="module")
def karrio_server() -> Iterator[KarrioJudge]:
    with faking() as judge:
        yield judge


@pytest.fixture
def judge(karrio_server: KarrioJudge) -> KarrioJudge:
    karrio_server.forget()
    return karrio_server


def assert_locked_out(found: Finding, words: str) -> None:
    assert isinstance(found, Lost)
    assert found.stops_provider
    assert words in found.message


def assert_not_found_out(found: Finding, words: str) -> None:
    assert isinstance(found, Lost)
    assert not found.stops_provider
    assert words in found.message


async def test_twilio_with_a_wrong_token_finds_nothing_out(twilio_server: Fake) -> None:
    twilio_server.change(step_seconds=60)
    request = replace(make_call(), sent_at=datetime.now(UTC))
    right = make_provider(twilio_server)
    wrong = make_provider(twilio_server, secret='{"auth_token": "wrong"}')
    placed = await right.send(request)
    assert isinstance(placed, Accepted)
    for reference in (None, placed.reference):
        asked = replace(request, reference=reference)
        assert_locked_out(await wrong.ask(asked), "Authenticate")
        assert isinstance(await right.ask(asked), Accepted)
    await right.close()
    await wrong.close()


@pytest.mark.parametrize("mode", ["live", "test"])
async def test_test_credentials_find_nothing_out_and_that_is_a_fault_where_people_are_called(
    mode: str, twilio_server: Fake
) -> None:
    twilio_server.change(step_seconds=60)
    secret = json.dumps({"auth_token": TEST_TOKEN})
    provider = make_provider(twilio_server, mode=mode, account_sid=TEST_ACCOUNT, secret=secret)
    placed = await provider.send(make_call())
    assert isinstance(placed, Accepted | Ended)
    found = await provider.ask(replace(make_call(), reference=placed.reference))
    await provider.close()
    assert isinstance(found, Lost)
    assert found.code == "twilio_20008"
    assert found.stops_provider is (mode == "live")


async def test_telnyx_with_a_wrong_key_finds_nothing_out(telnyx_server: Fake) -> None:
    telnyx_server.change(step_seconds=60)
    right = telnyx.make_provider(telnyx_server)
    wrong = telnyx.make_provider(telnyx_server, secret='{"api_key": "KEY1"}')
    placed = await right.send(make_call())
    assert isinstance(placed, Accepted)
    answered = await right.read_callback(make_call(), telnyx.told("call.answered"))
    assert isinstance(answered, Accepted)
    live = replace(make_call(), reference=placed.reference)
    for asked in (make_call(), live, replace(live, known_result=answered.result)):
        assert_locked_out(await wrong.ask(asked), "401")
        assert isinstance(await right.ask(asked), Accepted)
    await right.close()
    await wrong.close()


async def test_telnyx_with_a_key_that_must_not_ask_stops_nobody(telnyx_server: Fake) -> None:
    telnyx_server.change(step_seconds=60, closed=["calls", "connections"])
    provider = telnyx.make_provider(telnyx_server)
    placed = await provider.send(make_call())
    assert isinstance(placed, Accepted)
    for reference in (None, placed.reference):
        found = await provider.ask(replace(make_call(), reference=reference))
        assert_not_found_out(found, "403")
    await provider.close()


@pytest.mark.parametrize("step", ["read", "search"])
async def test_karrio_with_a_wrong_key_finds_nothing_out(step: str, judge: KarrioJudge) -> None:
    found = await ask_karrio(judge, step, "denied")
    assert_locked_out(found, "Karrio refuses the API key")


@pytest.mark.parametrize("step", ["read", "search"])
async def test_karrio_with_a_key_that_must_not_ask_stops_nobody(
    step: str, judge: KarrioJudge
) -> None:
    found = await ask_karrio(judge, step, "forbidden")
    assert_not_found_out(found, "Not allowed")


async def ask_karrio(judge: KarrioJudge, step: str, fault: str) -> Finding:
    """Ask about a lost purchase, by its draft or by its key, and get this answer."""
    kept, request = Kept(), ask_for()
    karrio = open_karrio(judge.url, kept=kept)
    judge.spoil("purchase", "reset_after")
    await karrio.send(request)
    reference = kept.references[request.key] if step == "read" else None
    judge.spoil(step, fault)
    found = await karrio.ask(replace(request, reference=reference))
    await karrio.close()
    return found


async def test_karrio_with_a_wrong_key_goes_on_waiting_for_a_label(judge: KarrioJudge) -> None:
    found = await ask_for_label(judge, "denied")
    assert_locked_out(found, "Karrio refuses the API key")


async def test_karrio_with_a_key_that_must_not_read_labels_stops_nobody(judge: KarrioJudge) -> None:
    assert isinstance(await ask_for_label(judge, "forbidden"), Accepted)


async def ask_for_label(judge: KarrioJudge, fault: str) -> Finding:
    """Ask about a booking whose label is missing, and get this answer for it."""
    kept, request = Kept(), ask_for()
    karrio = open_karrio(judge.url, kept=kept)
    judge.spoil("purchase", "no_label_after")
    judge.spoil("document", fault, fault)
    waiting = await karrio.send(request)
    assert isinstance(waiting, Accepted)
    asked = replace(request, reference=kept.references[request.key], known_result=waiting.result)
    found = await karrio.ask(asked)
    await karrio.close()
    return found
