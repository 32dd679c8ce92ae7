"""What a look finds once the answer of a purchase is lost, before a fake that counts purchases."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from batchyard.models import Answer, Ended, Lost, NotReceived
from batchyard.providers.karrio import KarrioProvider
from tests.providers.fakes.karrio_state import PDF
from tests.providers.karrio_judge import KarrioJudge, faking
from tests.providers.karrio_requests import Kept, ask_for, code_of, if_silent, later, open_karrio


@pytest.fixture(scope="module")
def server() -> Iterator[KarrioJudge]:
    with faking() as judge:
        yield judge


@pytest.fixture
def judge(server: KarrioJudge) -> Iterator[KarrioJudge]:
    server.forget()
    yield server
    books = server.books()
    assert books["violations"] == []
    assert set(books["purchases"].values()) <= {1}


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
async def karrio(judge: KarrioJudge, kept: Kept) -> AsyncIterator[KarrioProvider]:
    provider = open_karrio(judge.url, kept=kept)
    yield provider
    await provider.close()


@pytest.mark.parametrize(
    "fault",
    ["reset_after", "hang_after", "bad_gateway_after", "garbage_after", "broken_after"],
)
async def test_lost_booking_is_found_by_the_draft_that_was_kept(
    judge: KarrioJudge, kept: Kept, fault: str
) -> None:
    request = ask_for()
    karrio = open_karrio(judge.url, kept=kept, silent=if_silent("purchase", fault))
    judge.spoil("purchase", fault)
    await karrio.send(request)

    found = await karrio.ask(later(request, kept))

    await karrio.close()
    assert isinstance(found, Ended)
    assert found.status == "booked"
    assert [one.content for one in found.documents] == [PDF]
    assert judge.purchases() == {request.key: 1}


async def test_booking_later_than_our_timeout_is_found(judge: KarrioJudge, kept: Kept) -> None:
    request = ask_for()
    karrio = open_karrio(judge.url, kept=kept, silent="purchase")
    judge.spoil("purchase", "late")
    assert isinstance(await karrio.send(request), Lost)

    before = await karrio.ask(later(request, kept))
    judge.release()
    async with asyncio.timeout(10):
        while not judge.purchases():  # noqa: ASYNC110  # another process sends no signal
            await asyncio.sleep(0.02)
    after = await karrio.ask(later(request, kept))

    await karrio.close()
    assert code_of(before) == "not_proven"
    assert isinstance(after, Ended)


async def test_plain_draft_proves_nothing(
    judge: KarrioJudge, karrio: KarrioProvider, kept: Kept
) -> None:
    request = ask_for()
    judge.spoil("purchase", "reset_before")
    await karrio.send(request)

    found = await karrio.ask(later(request, kept))

    assert isinstance(found, Lost)
    assert found.code == "not_proven"
    assert request.key in found.message


async def test_half_recorded_purchase_names_where_to_look(
    judge: KarrioJudge, karrio: KarrioProvider, kept: Kept
) -> None:
    request = ask_for()
    judge.spoil("purchase", "half_broken_after")
    await karrio.send(request)

    found = await karrio.ask(later(request, kept))

    assert isinstance(found, Lost)
    assert found.code == "half_recorded"
    assert request.key in found.message
    assert kept.references[request.key] in found.message


async def test_key_without_a_kept_draft_was_certainly_not_bought(
    judge: KarrioJudge, karrio: KarrioProvider
) -> None:
    request = ask_for()
    judge.spoil("draft", "reset_after")
    await karrio.send(request)

    assert await karrio.ask(request) == NotReceived(is_certain=True)


async def test_booking_our_books_forgot_is_found_by_its_request_id(
    judge: KarrioJudge, karrio: KarrioProvider
) -> None:
    request = ask_for()
    await karrio.send(request)

    found = await karrio.ask(request)

    assert isinstance(found, Ended)
    assert judge.books()["arrivals"]["search"] == 1


async def test_draft_of_an_earlier_attempt_is_not_taken_for_this_one(
    karrio: KarrioProvider, kept: Kept
) -> None:
    first = ask_for()
    await karrio.send(first)
    second = replace(later(first, kept), key=f"{first.item_id}.2", attempt=2)

    assert await karrio.ask(second) == NotReceived(is_certain=True)


@pytest.mark.parametrize("fault,found", [("reset_after", Ended), ("reset_before", Lost)])
async def test_draft_whose_marks_somebody_took_away_is_still_this_keys(
    judge: KarrioJudge,
    karrio: KarrioProvider,
    kept: Kept,
    *,
    fault: str,
    found: type[Answer],
) -> None:
    request = ask_for()
    judge.spoil("purchase", fault)
    await karrio.send(request)
    judge.take_marks_away()

    assert isinstance(await karrio.ask(later(request, kept)), found)


@pytest.mark.parametrize("fault", ["broken", "gone", "hang_before", "garbage_after", "denied"])
async def test_look_up_that_fails_decides_nothing(
    judge: KarrioJudge, kept: Kept, fault: str
) -> None:
    request = ask_for()
    karrio = open_karrio(judge.url, kept=kept, silent=if_silent("read", fault))
    await karrio.send(request)
    judge.spoil("read", fault)
    judge.spoil("search", fault)

    assert isinstance(await karrio.ask(later(request, kept)), Lost)
    assert isinstance(await karrio.ask(request), Lost)
    await karrio.close()
