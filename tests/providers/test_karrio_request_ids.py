"""What is said where Karrio's answers do not show the request id that both steps carry."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from batchyard.models import Ended, Lost, Request
from batchyard.providers.karrio import KarrioProvider
from tests.providers.karrio_judge import KarrioJudge, faking
from tests.providers.karrio_requests import Kept, ask_for, open_karrio


class KeptBeforeChange(Kept):
    """Keeps the draft's id; from then on something changes request ids on their way."""

    def __init__(self, judge: KarrioJudge) -> None:
        super().__init__()
        self._judge = judge

    async def keep(self, request: Request, reference: str) -> bool:
        self._judge.mangle_request_ids()
        return await super().keep(request, reference)


@pytest.fixture(scope="module")
def server() -> Iterator[KarrioJudge]:
    with faking() as judge:
        yield judge


@pytest.fixture
def judge(server: KarrioJudge) -> Iterator[KarrioJudge]:
    server.forget()
    yield server
    assert server.books()["violations"] == []
    assert set(server.purchases().values()) == {1}


@pytest.fixture
def kept(judge: KarrioJudge) -> Kept:
    return KeptBeforeChange(judge)


@pytest.fixture
async def karrio(judge: KarrioJudge, kept: Kept) -> AsyncIterator[KarrioProvider]:
    provider = open_karrio(judge.url, kept=kept)
    yield provider
    await provider.close()


def note_of(answer: Ended) -> str:
    told = answer.result["karrio"]
    assert isinstance(told, dict)
    return str(told.get("note", ""))


async def test_booking_whose_purchase_shows_another_request_id_says_where_to_look(
    karrio: KarrioProvider, kept: Kept
) -> None:
    request = ask_for()

    answer = await karrio.send(request)

    assert isinstance(answer, Ended)
    assert answer.status == "booked"
    assert note_of(answer) == (
        f"Look for shipment {kept.references[request.key]}: the answer to its purchase carries "
        "another request id than ours, so it may not be found by that."
    )


@pytest.mark.parametrize(
    "fault,seen",
    [
        ("sdk_fault_after", "carries another request id than ours"),
        ("bad_gateway_after", "does not carry our request id"),
    ],
)
async def test_lost_purchase_without_our_request_id_is_found_by_its_draft(
    judge: KarrioJudge, karrio: KarrioProvider, kept: Kept, *, fault: str, seen: str
) -> None:
    request = ask_for()
    judge.spoil("purchase", fault)

    told = await karrio.send(request)

    assert isinstance(told, Lost)
    assert f"shipment {kept.references[request.key]}: the answer" in told.message
    assert seen in told.message
    later = replace(request, reference=kept.references[request.key])
    assert isinstance(await karrio.ask(later), Ended)


async def test_lost_purchase_that_shows_our_request_id_needs_no_such_words(
    judge: KarrioJudge,
) -> None:
    karrio = open_karrio(judge.url)
    judge.spoil("purchase", "sdk_fault_after")

    told = await karrio.send(ask_for())

    await karrio.close()
    assert isinstance(told, Lost)
    assert "request id" not in told.message
