"""The fault matrix of the karrio provider, before a fake server that counts purchases."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from batchyard.models import Accepted, Answer, Ended, Lost, Refused
from batchyard.providers.karrio import DRAFT_TRIES, KarrioProvider
from tests.providers.fakes.karrio_spec import MISSING, find_spec
from tests.providers.fakes.karrio_state import LIVE_KEY, PDF, ZPL
from tests.providers.karrio_judge import KarrioJudge, faking
from tests.providers.karrio_requests import (
    SILENT_SECONDS,
    Kept,
    ask_for,
    changed,
    code_of,
    if_silent,
    later,
    open_karrio,
)

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
        ("filtered", Refused, "http_403"),
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
    kept: Kept,
    *,
    fault: str,
    answer: type[Answer],
    code: str,
) -> None:
    karrio = open_karrio(judge.url, kept=kept, silent=if_silent("draft", fault))
    judge.spoil("draft", fault)

    told = await karrio.send(ask_for())

    await karrio.close()
    assert isinstance(told, answer), told
    assert code_of(told) == code
    is_stopped = isinstance(told, Refused) and told.stops_provider
    assert is_stopped is (code == "credentials_refused")
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
        ("filtered", Lost, "http_403", 0),
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
    *,
    fault: str,
    answer: type[Answer],
    code: str,
    bought: int,
) -> None:
    karrio = open_karrio(judge.url, silent=if_silent("purchase", fault))
    judge.spoil("purchase", fault)

    told = await karrio.send(ask_for())

    await karrio.close()
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


async def test_draft_may_take_longer_than_a_purchase(judge: KarrioJudge, kept: Kept) -> None:
    karrio = open_karrio(judge.url, kept=kept, silent="purchase")
    judge.spoil("draft", "late")
    sending = asyncio.create_task(karrio.send(ask_for()))
    await asyncio.sleep(1.5 * SILENT_SECONDS)
    judge.release()
    assert isinstance(await sending, Ended)
    await karrio.close()


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


async def test_documents_that_came_are_kept_while_another_is_fetched(
    judge: KarrioJudge, karrio: KarrioProvider, kept: Kept
) -> None:
    request = ask_for()
    judge.spoil("purchase", "papers_after")
    judge.spoil("document", "broken")

    waiting = await karrio.send(request)
    assert isinstance(waiting, Accepted)
    ended = await karrio.ask(replace(later(request, kept), known_result=waiting.result))

    assert isinstance(ended, Ended)
    assert sorted(one.kind for one in ended.documents) == ["customs", "label", "other"]
    assert "documents" not in ended.result
    assert judge.books()["arrivals"]["document"] == 2


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


@pytest.mark.parametrize("fault", ["broken", "filtered"])
async def test_draft_that_never_comes_about_is_given_up(
    judge: KarrioJudge, karrio: KarrioProvider, fault: str
) -> None:
    request = ask_for()
    judge.spoil("draft", *[fault] * DRAFT_TRIES)

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
