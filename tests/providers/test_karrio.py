"""The fault matrix of the karrio provider, before a fake server that counts purchases."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from batchyard.models import Accepted, Answer, Ended, Lost, NotReceived, Refused, Request
from batchyard.providers.karrio import DRAFT_TRIES, KarrioProvider
from tests.providers.fakes.karrio_spec import MISSING, find_spec
from tests.providers.fakes.karrio_state import LIVE_KEY, PDF, ZPL
from tests.providers.karrio_judge import KarrioJudge, faking
from tests.providers.karrio_requests import Kept, ask_for, changed, open_karrio

TWO_PARCELS = changed(parcels=[{"gross_weight": 500}, {"gross_weight": 700}])


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


def later(request: Request, kept: Kept) -> Request:
    """Return the request as it is asked about."""
    return replace(request, reference=kept.references.get(request.key))


def code_of(answer: Answer | NotReceived) -> str | None:
    match answer:
        case Ended():
            return answer.error_code
        case Refused() | Lost():
            return answer.code
        case _:
            return None


@pytest.mark.skipif(find_spec() is None, reason=MISSING)
def test_exchanges_are_checked_against_the_specification(judge: KarrioJudge) -> None:
    assert judge.books()["is_checked"]


async def test_booking_has_its_label_number_and_price(karrio: KarrioProvider, kept: Kept) -> None:
    request = ask_for()

    answer = await karrio.send(request)

    assert isinstance(answer, Ended)
    assert (answer.status, answer.reference) == ("booked", kept.references[request.key])
    assert answer.result == {
        "karrio": {
            "shipment_id": answer.reference,
            "carrier_id": "post-nord",
            "carrier_name": "generic",
            "service": "standard_service",
            "is_test": True,
        },
        "parcels": [{"tracking_code": "T000000001", "tracking_url": None}],
        "price_minor": 4550,
        "currency": "DKK",
    }
    [label] = answer.documents
    assert (label.kind, label.format, label.content) == ("label", "pdf", PDF)


async def test_label_is_asked_for_in_both_steps(judge: KarrioJudge) -> None:
    karrio = open_karrio(judge.url, label="zpl")

    answer = await karrio.send(ask_for())

    await karrio.close()
    assert isinstance(answer, Ended)
    assert [(one.format, one.content) for one in answer.documents] == [("zpl", ZPL)]


async def test_several_parcels_share_the_number_of_their_shipment(karrio: KarrioProvider) -> None:
    answer = await karrio.send(ask_for(TWO_PARCELS))

    assert isinstance(answer, Ended)
    codes = [one["tracking_code"] for one in answer.result["parcels"]]  # type: ignore[attr-defined]
    assert codes == ["T000000001"] * 2
    assert answer.result["tracking_numbers"] == ["T000000001-0", "T000000001-1"]


async def test_nothing_is_bought_without_the_commit_of_its_draft(
    judge: KarrioJudge, karrio: KarrioProvider, kept: Kept
) -> None:
    kept.is_ours = False

    answer = await karrio.send(ask_for())

    assert code_of(answer) == "claim_lost"
    assert isinstance(answer, Refused)
    assert judge.books()["arrivals"] == {"draft": 1}


@pytest.mark.parametrize(
    "fault,answer,code",
    [
        ("busy", Refused, "http_429"),
        ("denied", Refused, "credentials_refused"),
        ("forbidden", Refused, "credentials_refused"),
        ("gone", Ended, "rejected"),
        ("invalid", Ended, "rejected"),
        ("carrier_refuses", Ended, "carrier_refused"),
        ("field_error", Ended, "carrier_refused"),
        ("sdk_fault", Refused, "http_424"),
        ("no_code", Refused, "http_424"),
        ("broken", Refused, "http_500"),
        ("unreached", Refused, "http_502"),
        ("unavailable_after", Refused, "http_503"),
        ("reset_before", Refused, "connection_lost"),
        ("hang_before", Refused, "timeout"),
        ("reset_after", Refused, "connection_lost"),
        ("garbage_after", Refused, "answer_unreadable"),
        ("cut_after", Refused, "connection_lost"),
    ],
)
async def test_draft_that_goes_wrong_buys_nothing(
    judge: KarrioJudge,
    karrio: KarrioProvider,
    kept: Kept,
    *,
    fault: str,
    answer: type[Answer],
    code: str,
) -> None:
    judge.spoil("draft", fault)

    told = await karrio.send(ask_for())

    assert isinstance(told, answer), told
    assert code_of(told) == code
    assert kept.references == {}
    assert judge.purchases() == {}
    assert judge.books()["arrivals"] == {"draft": 1}


@pytest.mark.parametrize(
    "fault,answer,code,bought",
    [
        # Proven: nothing was bought.
        ("busy", Refused, "http_429", 0),
        ("denied", Refused, "credentials_refused", 0),
        ("forbidden", Refused, "credentials_refused", 0),
        ("gone", Refused, "draft_gone", 0),
        ("early_invalid", Ended, "rejected", 0),
        ("field_error", Ended, "carrier_refused", 0),
        ("carrier_refuses", Ended, "carrier_refused", 0),
        # Not proven, whatever happened.
        ("invalid", Lost, "http_400", 0),
        ("half_invalid_after", Lost, "http_400", 1),
        ("sdk_fault", Lost, "http_424", 0),
        ("sdk_fault_after", Lost, "http_424", 1),
        ("no_code", Lost, "http_424", 0),
        ("carrier_down", Lost, "http_424", 0),
        ("carrier_down_after", Lost, "http_424", 1),
        ("half_broken_after", Lost, "http_500", 1),
        ("broken_after", Lost, "http_500", 1),
        ("bad_gateway_after", Lost, "http_502", 1),
        ("unavailable_after", Lost, "http_503", 1),
        ("gateway_timeout_after", Lost, "http_504", 1),
        ("unreached", Lost, "http_502", 0),
        ("reset_before", Lost, "connection_lost", 0),
        ("reset_after", Lost, "connection_lost", 1),
        ("hang_before", Lost, "timeout", 0),
        ("hang_after", Lost, "timeout", 1),
        ("garbage_after", Lost, "answer_unreadable", 1),
        ("cut_after", Lost, "connection_lost", 1),
    ],
)
async def test_purchase_that_goes_wrong_is_read_for_what_it_proves(
    judge: KarrioJudge,
    karrio: KarrioProvider,
    *,
    fault: str,
    answer: type[Answer],
    code: str,
    bought: int,
) -> None:
    judge.spoil("purchase", fault)

    told = await karrio.send(ask_for())

    assert isinstance(told, answer), told
    assert code_of(told) == code
    books = judge.books()
    assert sum(books["purchases"].values()) == bought
    assert books["arrivals"]["purchase"] == 1


async def test_carriers_refusal_is_told_in_its_words(
    judge: KarrioJudge, karrio: KarrioProvider
) -> None:
    judge.spoil("purchase", "carrier_refuses", "field_error")

    refused = await karrio.send(ask_for())
    incomplete = await karrio.send(ask_for())

    assert isinstance(refused, Ended)
    assert refused.error_message == "The postal code is not served. (111057)"
    assert isinstance(incomplete, Ended)
    assert "shipper.postal_code: is required" in (incomplete.error_message or "")


@pytest.mark.parametrize("doubt", ["strict", "several parcels", "bought all the same"])
async def test_carriers_refusal_is_doubted(judge: KarrioJudge, doubt: str) -> None:
    karrio = open_karrio(judge.url, strict=doubt == "strict")
    fault = "carrier_refuses_after" if doubt == "bought all the same" else "carrier_refuses"
    judge.spoil("purchase", fault)

    told = await karrio.send(ask_for(TWO_PARCELS if doubt == "several parcels" else None))

    await karrio.close()
    if doubt == "bought all the same":
        assert isinstance(told, Ended)
        assert told.status == "booked"
    else:
        assert isinstance(told, Lost)


async def test_carriers_refusal_of_a_half_recorded_purchase_is_none(
    judge: KarrioJudge, karrio: KarrioProvider
) -> None:
    judge.spoil("purchase", "half_carrier_refuses_after")

    told = await karrio.send(ask_for())

    assert isinstance(told, Lost)
    assert told.code == "half_recorded"


async def test_refusal_whose_draft_cannot_be_looked_at_is_not_believed(
    judge: KarrioJudge, karrio: KarrioProvider
) -> None:
    judge.spoil("purchase", "carrier_refuses")
    judge.spoil("read", "broken")

    told = await karrio.send(ask_for())

    assert isinstance(told, Lost)
    assert told.code == "not_found_out"


@pytest.mark.parametrize(
    "fault",
    ["reset_after", "hang_after", "bad_gateway_after", "garbage_after", "broken_after"],
)
async def test_lost_booking_is_found_by_the_draft_that_was_kept(
    judge: KarrioJudge, karrio: KarrioProvider, kept: Kept, fault: str
) -> None:
    request = ask_for()
    judge.spoil("purchase", fault)
    await karrio.send(request)

    found = await karrio.ask(later(request, kept))

    assert isinstance(found, Ended)
    assert found.status == "booked"
    assert [one.content for one in found.documents] == [PDF]
    assert judge.purchases() == {request.key: 1}


async def test_booking_later_than_our_timeout_is_found(
    judge: KarrioJudge, karrio: KarrioProvider, kept: Kept
) -> None:
    request = ask_for()
    judge.spoil("purchase", "late")
    assert isinstance(await karrio.send(request), Lost)

    before = await karrio.ask(later(request, kept))
    async with asyncio.timeout(10):
        while not judge.purchases():  # noqa: ASYNC110  # another process sends no signal
            await asyncio.sleep(0.02)
    after = await karrio.ask(later(request, kept))

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
    judge: KarrioJudge, karrio: KarrioProvider, kept: Kept, fault: str
) -> None:
    request = ask_for()
    await karrio.send(request)
    judge.spoil("read", fault)
    judge.spoil("search", fault)

    assert isinstance(await karrio.ask(later(request, kept)), Lost)
    assert isinstance(await karrio.ask(request), Lost)


async def test_changed_request_id_is_not_relied_on_and_said(
    judge: KarrioJudge, karrio: KarrioProvider, kept: Kept
) -> None:
    judge.mangle_request_ids()
    judge.spoil("purchase", "reset_after")
    request = ask_for()

    told = await karrio.send(request)

    assert isinstance(told, Lost)
    assert "does not keep our request id" in told.message
    assert kept.references[request.key] in told.message
    assert isinstance(await karrio.ask(later(request, kept)), Ended)


async def test_label_that_is_missing_is_fetched_and_waited_for(
    judge: KarrioJudge, karrio: KarrioProvider, kept: Kept
) -> None:
    request = ask_for()
    judge.spoil("purchase", "no_label_after")
    judge.spoil("document", "gone", "broken")

    waiting = await karrio.send(request)
    assert isinstance(waiting, Accepted)
    still = await karrio.ask(replace(later(request, kept), known_result=waiting.result))
    assert isinstance(still, Accepted)
    ended = await karrio.ask(replace(later(request, kept), known_result=still.result))

    assert isinstance(ended, Ended)
    assert [one.content for one in ended.documents] == [PDF]
    assert "documents" not in ended.result
    assert judge.purchases() == {request.key: 1}


@pytest.mark.parametrize("mode,key", [("test", LIVE_KEY), ("live", None)])
async def test_key_of_the_other_mode_buys_nothing(
    judge: KarrioJudge, mode: str, key: str | None
) -> None:
    karrio = open_karrio(judge.url, mode=mode, **({"key": key} if key else {}))  # type: ignore[arg-type]

    told = await karrio.send(ask_for())

    await karrio.close()
    assert isinstance(told, Refused)
    assert told.code == "wrong_mode"
    assert judge.purchases() == {}


async def test_service_that_is_not_offered_is_said(karrio: KarrioProvider) -> None:
    told = await karrio.send(ask_for(changed(delivery__service="overnight")))

    assert code_of(told) == "service_unavailable"


async def test_connection_is_chosen_by_its_id_where_two_share_a_name(
    karrio: KarrioProvider,
) -> None:
    payload = changed(delivery={"carrier": "car_3", "service": "ups_standard"})

    told = await karrio.send(ask_for(payload))

    assert isinstance(told, Ended)
    assert told.status == "booked"


async def test_draft_that_never_comes_about_is_given_up(
    judge: KarrioJudge, karrio: KarrioProvider
) -> None:
    request = ask_for()
    judge.spoil("draft", *["broken"] * DRAFT_TRIES)

    told = [await karrio.send(request) for _ in range(DRAFT_TRIES)]

    assert [type(one) for one in told] == [Refused] * (DRAFT_TRIES - 1) + [Ended]
    assert code_of(told[-1]) == "draft_failed"
    assert judge.purchases() == {}


async def test_server_that_cannot_be_reached_was_not_asked() -> None:
    karrio = open_karrio("http://127.0.0.1:9")

    told = await karrio.send(ask_for())

    await karrio.close()
    assert isinstance(told, Refused)
    assert told.code == "connect_failed"
