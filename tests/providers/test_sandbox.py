import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from batchyard.errors import ConfigError
from batchyard.models import (
    Accepted,
    Answer,
    Ended,
    Lost,
    NotReceived,
    Policy,
    Progress,
    Refused,
    Request,
)
from batchyard.providers.base import Surroundings
from batchyard.providers.sandbox import CHECK_SLACK, SandboxProvider, fate
from tests.providers.requests import SENT_AT, make_call, make_shipment

SEED = "tests"


class Sandbox:
    """A sandbox with a clock set by hand, and all it told."""

    def __init__(self, speed: float | str) -> None:
        self.now = SENT_AT
        self.told: asyncio.Queue[tuple[str, Answer]] = asyncio.Queue()
        self.provider = SandboxProvider(
            Surroundings(
                name="sandbox",
                clock=self._clock,
                report=lambda key, news: self.told.put_nowait((key, news)),
                settings={"speed": speed, "seed": SEED},
            )
        )

    def _clock(self) -> datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now = SENT_AT + timedelta(seconds=seconds)

    async def hear(self, count: int) -> list[Answer]:
        return [(await self.told.get())[1] for _ in range(count)]


@pytest.fixture
async def make_sandbox() -> AsyncIterator[Callable[[float], Sandbox]]:
    made: list[Sandbox] = []

    def make(speed: float) -> Sandbox:
        made.append(Sandbox(speed))
        return made[-1]

    yield make
    for sandbox in made:
        await sandbox.provider.close()


def word(news: object) -> str:
    assert isinstance(news, Accepted | Progress | Ended)
    assert news.status is not None
    return news.status


async def test_promise_is_askable(make_sandbox: Callable[[float], Sandbox]) -> None:
    promise = make_sandbox(1).provider.promise
    assert promise.policy is Policy.ASKABLE
    assert promise.is_askable
    assert promise.ask_settles_after == timedelta(0)


async def test_ask_tells_what_is_true_by_now(make_sandbox: Callable[[float], Sandbox]) -> None:
    sandbox, call = make_sandbox(10), make_call("+12125550104", delivery=2)
    decided = fate(call, SEED)
    ends_at = SENT_AT + timedelta(seconds=decided.ends_after_seconds / 10)

    for event in decided.events:
        sandbox.pass_seconds(event.after_seconds / 10 + 0.001)
        found = await sandbox.provider.ask(call)
        assert isinstance(found, Accepted)
        assert found.status == event.status
        assert found.check_at == ends_at + CHECK_SLACK

    sandbox.pass_seconds(decided.ends_after_seconds / 10 + 0.001)
    assert await sandbox.provider.ask(call) == decided.ending


async def test_ask_knows_after_a_restart(make_sandbox: Callable[[float], Sandbox]) -> None:
    before, after, call = make_sandbox(1), make_sandbox(1), make_call()
    accepted = await before.provider.send(call)
    await before.provider.close()
    assert await after.provider.ask(call) == accepted
    after.pass_seconds(300)
    assert await after.provider.ask(call) == fate(call, SEED).ending


async def test_check_time_comes_after_the_end(make_sandbox: Callable[[float], Sandbox]) -> None:
    for speed in (0, 1, 50):
        sandbox, call = make_sandbox(speed), make_call("+12125550110")
        accepted = await sandbox.provider.send(call)
        assert isinstance(accepted, Accepted)
        assert accepted.check_at is not None
        sandbox.now = accepted.check_at
        assert isinstance(await sandbox.provider.ask(call), Ended)


async def test_speed_0_tells_everything_at_once_in_order(
    make_sandbox: Callable[[float], Sandbox],
) -> None:
    sandbox, call = make_sandbox(0), make_call("+12125550109", attempt=2)
    accepted = await sandbox.provider.send(call)
    assert word(accepted) == "initiated"
    assert [word(n) for n in await sandbox.hear(3)] == ["ringing", "in-progress", "completed"]
    assert isinstance(await sandbox.provider.ask(call), Ended)


async def test_callbacks_bring_what_asking_brings(
    make_sandbox: Callable[[float], Sandbox],
) -> None:
    for request in (make_call("+12125550103"), make_shipment("9804", parcels=2)):
        sandbox = make_sandbox(0)
        await sandbox.provider.send(request)
        news = await sandbox.hear(len(fate(request, SEED).callbacks()))
        assert news[-1] == await sandbox.provider.ask(request)


@pytest.mark.parametrize("request_", [make_call("+12125550104"), make_shipment("9803")])
async def test_refused_first_is_taken_at_the_second_delivery(
    make_sandbox: Callable[[float], Sandbox], request_: Request
) -> None:
    sandbox = make_sandbox(1)
    refused = await sandbox.provider.send(request_)
    assert isinstance(refused, Refused)
    assert refused.retry_after_seconds == 2
    assert await sandbox.provider.ask(request_) == NotReceived()
    assert isinstance(await sandbox.provider.send(replace(request_, delivery=2)), Accepted)


@pytest.mark.parametrize("request_", [make_call("+12125550107"), make_shipment("9802")])
async def test_lost_request_is_not_received_until_sent_again(
    make_sandbox: Callable[[float], Sandbox], request_: Request
) -> None:
    sandbox = make_sandbox(0)
    assert isinstance(await sandbox.provider.send(request_), Lost)
    assert await sandbox.provider.ask(request_) == NotReceived()
    again = replace(request_, delivery=2)
    assert isinstance(await sandbox.provider.send(again), Accepted)
    assert isinstance(await sandbox.provider.ask(again), Ended)


@pytest.mark.parametrize("request_", [make_call("+12125550105"), make_shipment("9801")])
async def test_lost_answer_is_found_by_asking_only(
    make_sandbox: Callable[[float], Sandbox], request_: Request
) -> None:
    sandbox = make_sandbox(1)
    assert isinstance(await sandbox.provider.send(request_), Lost)
    assert not sandbox.provider._timers
    assert isinstance(await sandbox.provider.ask(request_), Accepted)
    sandbox.pass_seconds(300)
    assert isinstance(await sandbox.provider.ask(request_), Ended)


@pytest.mark.parametrize("request_", [make_call("+12125550110"), make_shipment("9805")])
async def test_silent_one_is_accepted_and_never_calls_back(
    make_sandbox: Callable[[float], Sandbox], request_: Request
) -> None:
    sandbox = make_sandbox(1)
    assert isinstance(await sandbox.provider.send(request_), Accepted)
    assert not sandbox.provider._timers
    assert fate(request_, SEED).callbacks() == ()


@pytest.mark.parametrize(
    "request_,words",
    [
        (
            make_call("+12125550106"),
            ["ringing", "in-progress", "completed", "ringing", "completed"],
        ),
        (make_shipment("9804"), ["booked", "processing", "booked"]),
    ],
)
async def test_end_comes_twice_and_an_old_status_late(
    make_sandbox: Callable[[float], Sandbox], request_: Request, words: list[str]
) -> None:
    sandbox = make_sandbox(0)
    await sandbox.provider.send(request_)
    assert [word(news) for news in await sandbox.hear(len(words))] == words
    times = [callback.after_seconds for callback in fate(request_, SEED).callbacks()]
    assert times[-1] == fate(request_, SEED).ends_after_seconds + 10


async def test_close_cancels_timers(make_sandbox: Callable[[float], Sandbox]) -> None:
    sandbox = make_sandbox(1)
    await sandbox.provider.send(make_call("+12125550106"))
    (timer,) = sandbox.provider._timers.values()
    await sandbox.provider.close()
    assert timer.cancelled()
    assert not sandbox.provider._timers


async def test_timers_are_forgotten_once_all_is_told(
    make_sandbox: Callable[[float], Sandbox],
) -> None:
    sandbox = make_sandbox(0)
    await sandbox.provider.send(make_call("+12125550101"))
    await sandbox.provider.send(make_shipment("9804", item=8))
    await sandbox.hear(4)
    assert not sandbox.provider._timers


async def test_booking_has_a_code_a_link_and_a_label_for_each_parcel(
    make_sandbox: Callable[[float], Sandbox],
) -> None:
    shipment = make_shipment("9805", carrier="postnord", parcels=3)
    booked = await make_sandbox(0).provider.ask(shipment)
    assert isinstance(booked, Ended)
    parcels = booked.result["parcels"]
    assert isinstance(parcels, list)
    codes = [parcel["tracking_code"] for parcel in parcels]
    assert len(set(codes)) == 3
    assert [p["tracking_url"] for p in parcels] == [f"https://track.example/{c}" for c in codes]
    assert [(d.kind, d.format, d.parcel) for d in booked.documents] == [
        ("label", "pdf", 1),
        ("label", "zpl", 1),
        ("label", "pdf", 2),
        ("label", "zpl", 2),
        ("label", "pdf", 3),
        ("label", "zpl", 3),
    ]
    starts = {"pdf": b"%PDF-", "zpl": b"^XA"}
    assert all(d.content.startswith(starts[d.format]) for d in booked.documents)


async def test_failed_booking_has_no_label(make_sandbox: Callable[[float], Sandbox]) -> None:
    failed = await make_sandbox(0).provider.ask(make_shipment("9990"))
    assert isinstance(failed, Ended)
    assert failed.documents == ()


async def test_labels_are_drawn_beside_the_event_loop(
    make_sandbox: Callable[[float], Sandbox],
) -> None:
    asking = asyncio.create_task(_keep(make_sandbox(0).provider.ask(make_shipment(parcels=40))))
    turns = 0
    while not asking.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 10


async def _keep(asked: Awaitable[object]) -> object:
    return await asked


@pytest.mark.parametrize("speed", [-1, "fast", float("nan"), None])
async def test_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(ConfigError, match="speed"):
        Sandbox(speed)
