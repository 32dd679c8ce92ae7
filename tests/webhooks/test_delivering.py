"""Deliveries over real sockets: signed, in order, again and again for a day."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import uuid4

import pytest
from standardwebhooks import Webhook

from batchyard.errors import NotFound
from batchyard.models import Phase
from batchyard.operations import webhooks as operations
from batchyard.store.deliveries import Delivery
from batchyard.testing.server import Arrived
from batchyard.webhooks import ORDERED_ATTEMPTS, PAUSES, PER_ENDPOINT, Courier, next_pause
from tests.webhooks.conftest import Post, Receiver

ALL_ENDED = "SELECT count(*) = 0 FROM webhook_deliveries WHERE ended_at IS NULL"
NONE_OUT = "SELECT count(*) = 0 FROM webhook_deliveries WHERE state = 'sending'"
ALL_TRIED = (
    "SELECT count(*) = 0 FROM webhook_deliveries"
    " WHERE ended_at IS NULL AND (state = 'sending' OR attempts = 0)"
)


async def test_delivery_is_signed_with_the_secret_of_the_team(
    post: Post, receiver: Receiver
) -> None:
    await post.listen()
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.LIVE, status="ringing")
    await post.deliver_until(ALL_ENDED)
    (arrived,) = receiver.arrived
    assert (arrived.method, arrived.path) == ("POST", "/hook")
    assert arrived.headers["content-type"] == "application/json"
    assert arrived.headers["batchyard-event"] == "item.ringing"
    assert arrived.headers["batchyard-number"] == "1"
    secret = await operations.team_secret(post.db, team=post.team)
    assert Webhook(secret).verify(arrived.body, dict(arrived.headers)) == receiver.bodies[0]
    ((delivery_id,),) = await post.run("SELECT id FROM webhook_deliveries")
    assert arrived.headers["webhook-id"] == str(delivery_id)


async def test_secret_is_made_once_for_everybody(post: Post) -> None:
    told = await asyncio.gather(
        *(operations.team_secret(post.db, team=post.team) for _ in range(8))
    )
    assert len(set(told)) == 1
    assert told[0].startswith("whsec_")


async def test_news_of_an_item_arrives_in_order(post: Post, receiver: Receiver) -> None:
    await post.listen()
    _, items = await post.make_items(25)
    await post.ring_and_end(*items)
    async with AsyncExitStack() as workers:
        for _ in range(3):
            await workers.enter_async_context(post.delivering())
        await post.until(ALL_ENDED)
    numbers: dict[object, list[object]] = {}
    for body in receiver.bodies:
        numbers.setdefault(body["of"], []).append(body["number"])
    assert list(numbers.values()) == [[1, 2, 3, 4]] * 25
    assert receiver.most_busy <= PER_ENDPOINT


async def test_an_endpoint_gets_only_so_much_at_once(post: Post, receiver: Receiver) -> None:
    await post.listen()
    _, items = await post.make_items(40)
    await post.move(*items, phase=Phase.DONE, status="completed")
    receiver.gate = asyncio.Event()
    async with post.delivering(), post.delivering():
        async with asyncio.timeout(30):
            while receiver.busy < PER_ENDPOINT:  # noqa: ASYNC110  # a plain counter
                await asyncio.sleep(0.01)
        receiver.gate.set()
        await post.until(ALL_ENDED)
    assert receiver.most_busy == PER_ENDPOINT
    assert len(receiver.arrived) == 40


async def test_later_news_waits_for_earlier_news_that_failed(
    post: Post, receiver: Receiver
) -> None:
    await post.listen()
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.LIVE, status="ringing")
    await post.move(*items, phase=Phase.DONE, status="completed")
    receiver.answer = lambda _: 503
    await post.deliver_until("SELECT count(*) = 1 FROM webhook_attempts")
    receiver.answer = lambda _: 200
    post.later(seconds=10)
    await post.deliver_until(ALL_ENDED)
    assert [body["number"] for body in receiver.bodies] == [1, 1, 2]
    assert len({arrived.headers["webhook-id"] for arrived in receiver.arrived}) == 2


async def test_news_overtakes_what_nobody_takes(post: Post, receiver: Receiver) -> None:
    await post.listen()
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.LIVE, status="ringing")
    await post.move(*items, phase=Phase.DONE, status="completed")
    receiver.answer = lambda arrived: 400 if b"ringing" in arrived.body else 200
    async with post.delivering():
        for tries in range(1, ORDERED_ATTEMPTS + 1):
            await post.until(f"SELECT count(*) >= {tries} FROM webhook_attempts")
            assert tries > 1 or len(receiver.arrived) == 1
            if tries < ORDERED_ATTEMPTS:  # After the last of them the news is due by itself.
                post.later(hours=1)
        await post.until("SELECT count(*) = 1 FROM webhook_deliveries WHERE state = 'delivered'")
    assert ("item.completed", 2, "delivered", 1) in await post.states()


async def test_delivery_is_given_up_after_a_day(post: Post, receiver: Receiver) -> None:
    await post.listen()
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.DONE, status="completed")
    receiver.answer = lambda _: 500
    began = post.clock()
    async with post.delivering():
        for tries in range(1, 100):
            await post.until(
                f"SELECT attempts >= {tries} AND state <> 'sending' FROM webhook_deliveries"
            )
            ((state,),) = await post.run("SELECT state FROM webhook_deliveries")
            if state == "failed":
                break
            ((due_at,),) = await post.run("SELECT due_at FROM webhook_deliveries")
            post.clock.set(due_at)  # type: ignore[arg-type]  # timestamptz
    assert state == "failed"
    assert timedelta(hours=24) <= post.clock() - began < timedelta(hours=24) + 1.1 * PAUSES[-1]
    assert 25 < len(receiver.arrived) < 35
    log = await operations.list_deliveries(post.db, team=post.team)
    assert [(entry.state, entry.last_status) for entry in log] == [("failed", 500)]
    assert log[0].last_error == "The receiver answered 500."
    attempts = await operations.list_attempts(post.db, team=post.team, delivery_id=log[0].id)
    assert len(attempts) == len(receiver.arrived)


async def test_receiver_down_for_a_day_gets_each_event_once(post: Post, receiver: Receiver) -> None:
    await post.listen()
    _, items = await post.make_items(6)
    await post.ring_and_end(*items)
    receiver.answer = lambda _: 0
    began = post.clock()
    taken: list[str] = []

    def accept(arrived: Arrived) -> int:
        taken.append(arrived.headers["webhook-id"])
        return 200

    async with post.delivering():
        for hour in range(1, 25):
            await post.until(f"SELECT count(*) >= {hour} FROM webhook_attempts")
            await post.until(NONE_OUT)
            if hour == 24:
                receiver.answer = accept
            post.later(hours=1)
        assert post.clock() - began >= timedelta(hours=24)
        while len(set(taken)) < 24:
            seen = len(taken)
            post.later(minutes=20)
            await operations.forget_old(post.db)
            async with asyncio.timeout(30):
                while len(taken) == seen:  # noqa: ASYNC110  # a plain list
                    await asyncio.sleep(0.01)
            await post.until(NONE_OUT)
        await post.until(ALL_ENDED)
    # One that is out when the hour passes is sent again; its id tells the receiver.
    assert len(set(taken)) == 24
    assert {state for _, _, state, _ in await post.states()} == {"delivered"}


async def test_receiver_back_after_a_whole_day_gets_what_was_told_first(
    post: Post, receiver: Receiver
) -> None:
    await post.listen()
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.DONE, status="completed")
    back_at = post.clock() + timedelta(hours=24)
    receiver.answer = lambda _: 200 if post.clock() >= back_at else 500
    async with post.delivering():
        for tries in range(1, 100):
            await post.until(
                f"SELECT attempts >= {tries} AND state <> 'sending' FROM webhook_deliveries"
            )
            ((state, due_at),) = await post.run("SELECT state, due_at FROM webhook_deliveries")
            if state != "pending":
                break
            post.clock.set(due_at)  # type: ignore[arg-type]  # timestamptz
            await operations.forget_old(post.db)
    assert state == "delivered"
    assert len({arrived.headers["webhook-id"] for arrived in receiver.arrived}) == 1


async def test_receiver_that_asks_for_time_gets_it(post: Post) -> None:
    delivery = Delivery(
        id=uuid4(),
        endpoint_id=1,
        team_id=1,
        url="",
        format="",
        type="",
        subject=uuid4(),
        number=1,
        attempts=1,
        created_at=post.clock(),
        expires_at=post.clock(),
    )
    plain = next_pause(delivery, retry_after_seconds=None)
    assert 0.9 * PAUSES[0] <= plain <= 1.1 * PAUSES[0]
    assert next_pause(delivery, retry_after_seconds=600) == timedelta(minutes=10)
    assert next_pause(delivery, retry_after_seconds=10**9) == timedelta(hours=4)


@pytest.mark.parametrize("is_date", [False, True])
async def test_receiver_is_left_alone_as_long_as_it_asks(
    post: Post, receiver: Receiver, *, is_date: bool
) -> None:
    await post.listen()
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.DONE, status="completed")
    at = post.clock().astimezone(UTC) + timedelta(hours=2)
    receiver.answer = lambda _: 503
    receiver.headers = {"Retry-After": format_datetime(at, usegmt=True) if is_date else "7200"}
    await post.deliver_until("SELECT count(*) = 1 FROM webhook_attempts")
    [[due_at]] = await post.run("SELECT due_at FROM webhook_deliveries")
    assert isinstance(due_at, datetime)
    assert abs(due_at - at) < timedelta(minutes=1)


async def test_failing_endpoint_is_left_alone_and_others_are_not(
    post: Post, receiver: Receiver
) -> None:
    await post.listen()
    _, items = await post.make_items(60)
    await post.move(*items, phase=Phase.DONE, status="completed")
    receiver.answer = lambda _: 500
    async with post.delivering():
        await post.until("SELECT resume_at > '-infinity' FROM webhook_endpoints")
        await post.until("SELECT count(*) = 0 FROM webhook_deliveries WHERE state = 'sending'")
    assert len(receiver.arrived) < 20
    receiver.answer = lambda _: 200
    post.later(minutes=20)
    await post.deliver_until(ALL_ENDED)
    assert await post.run("SELECT failures FROM webhook_endpoints") == [(0,)]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirect_is_a_failure_and_not_followed(
    post: Post, receiver: Receiver, status: int
) -> None:
    await post.listen()
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.DONE, status="completed")
    receiver.answer = lambda _: status
    await post.deliver_until(ALL_TRIED)
    assert len(receiver.arrived) == 1
    assert await post.run("SELECT status FROM webhook_attempts") == [(status,)]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://2130706433:{port}/",
        "http://169.254.169.254/latest",
    ],
)
async def test_private_address_is_never_reached(post: Post, receiver: Receiver, url: str) -> None:
    post.config = post.config.model_copy(update={"webhook_allow_private": False})
    port = post.url.split(":")[2].split("/")[0]
    await post.listen(url=url.format(port=port))
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.DONE, status="completed")
    await post.deliver_until(ALL_TRIED)
    assert receiver.arrived == []
    ((error,),) = await post.run("SELECT error FROM webhook_attempts")
    assert "may not be reached" in str(error) or "looked up" in str(error)


async def test_what_cannot_be_rendered_is_dropped(post: Post, receiver: Receiver) -> None:
    await post.listen()
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.DONE, status="error")
    await post.deliver_until(ALL_ENDED)
    assert receiver.arrived == []
    assert await post.states() == [("item.error", 1, "dropped", 1)]


async def test_delivery_of_a_dead_worker_is_sent_by_another(post: Post) -> None:
    await post.listen()
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.DONE, status="completed")
    await post.run(
        "UPDATE webhook_deliveries SET state = 'sending', attempts = 1, due_at = %(at)s",
        at=post.clock() + timedelta(seconds=50),
    )
    async with post.delivering():
        post.later(minutes=1)
        await post.until(ALL_ENDED)
    assert await post.states() == [("item.completed", 1, "delivered", 2)]


async def test_redelivery_sends_once_more_under_the_old_id(post: Post, receiver: Receiver) -> None:
    await post.listen()
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.DONE, status="completed")
    await post.deliver_until(ALL_ENDED)
    (entry,) = await operations.list_deliveries(post.db, team=post.team)
    await operations.redeliver(post.db, team=post.team, delivery_id=entry.id)
    await post.deliver_until(ALL_ENDED)
    ids = [arrived.headers["webhook-id"] for arrived in receiver.arrived]
    assert ids == [str(entry.id)] * 2
    with pytest.raises(NotFound):
        await operations.redeliver(post.db, team=post.team, delivery_id=uuid4())


async def test_everything_given_up_can_be_sent_again(post: Post, receiver: Receiver) -> None:
    await post.listen()
    _, items = await post.make_items(3)
    await post.move(*items, phase=Phase.DONE, status="completed")
    await post.run("UPDATE webhook_deliveries SET state = 'failed', ended_at = now()")
    assert await operations.redeliver_failed(post.db, team=post.team) == 3
    await post.deliver_until(ALL_ENDED)
    assert len(receiver.arrived) == 3


async def test_fault_in_rendering_does_not_end_delivering(
    post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post.listen()
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.DONE, status="completed")
    whole = Courier._render
    faults = [ValueError("broken row")]

    async def broken_once(
        courier: Courier, claimed: Sequence[Delivery]
    ) -> list[tuple[Delivery, bytes | None]]:
        if claimed and faults:
            raise faults.pop()
        return await whole(courier, claimed)

    monkeypatch.setattr(Courier, "_render", broken_once)
    async with post.delivering():
        await post.until("SELECT attempts = 1 FROM webhook_deliveries")
        post.later(minutes=2)
        await post.until(ALL_ENDED)
    assert json.loads(receiver.arrived[0].body)["number"] == 1
