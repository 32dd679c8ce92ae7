"""Which deliveries a worker takes, and which it leaves."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import pytest

from batchyard.models import Kind, Phase
from batchyard.operations import deletions
from batchyard.store import deliveries, endpoints
from batchyard.store.db import Connection
from batchyard.store.deliveries import Delivery, Outcome
from batchyard.webhooks import HOLD, ORDERED_ATTEMPTS, PER_ENDPOINT
from tests.webhooks.conftest import Post


async def claim_within(
    conn: Connection, post: Post, *, limit: int = 10, per_endpoint: int = PER_ENDPOINT
) -> Sequence[Delivery]:
    """Take what is due, as a worker does."""
    return await deliveries.claim(
        conn,
        limit=limit,
        per_endpoint=per_endpoint,
        ordered_attempts=ORDERED_ATTEMPTS,
        hold=HOLD,
        now=post.clock(),
    )


async def claim(
    post: Post, *, limit: int = 10, per_endpoint: int = PER_ENDPOINT
) -> Sequence[Delivery]:
    async with post.db.transaction() as conn:
        return await claim_within(conn, post, limit=limit, per_endpoint=per_endpoint)


async def end(post: Post, delivery: Delivery) -> None:
    outcome = Outcome(status=200, error=None, duration_ms=1)
    async with post.db.transaction() as conn:
        await deliveries.end(conn, delivery, state="delivered", outcome=outcome, now=post.clock())


async def add_endpoint(post: Post, name: str) -> None:
    """Let an address of the team listen to everything."""
    async with post.db.transaction() as conn:
        await endpoints.insert(
            conn,
            team_id=post.team.id,
            url=f"{post.url}/{name}",
            format_="plain/1",
            description=None,
            events=None,
            now=post.clock(),
        )


def names_of(claimed: Sequence[Delivery]) -> Counter[str]:
    """Count by the address what is to be told to it."""
    return Counter(delivery.url.rpartition("/")[2] for delivery in claimed)


async def test_news_goes_out_while_more_is_being_told(post: Post) -> None:
    await post.listen()
    _, (told, still_told) = await post.make_items(2)
    await post.move(told, phase=Phase.DONE, status="completed")
    async with post.db.transaction() as conn:
        await conn.execute(
            "UPDATE items SET phase = 'done', status = 'completed' WHERE id = %s", (still_told,)
        )
        claimed = await claim(post)
    assert [delivery.subject for delivery in claimed] == [told]


async def test_later_news_waits_until_the_last_ordered_try_is_over(post: Post) -> None:
    await post.listen()
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.LIVE, status="ringing")
    await post.move(*items, phase=Phase.DONE, status="completed")
    await post.run(
        "UPDATE webhook_deliveries SET attempts = %(tried)s WHERE number = 1",
        tried=ORDERED_ATTEMPTS - 1,
    )
    [last_try] = await claim(post)
    assert (last_try.number, last_try.attempts) == (1, ORDERED_ATTEMPTS)
    assert await claim(post) == []
    async with post.db.transaction() as conn:
        await deliveries.put_off(
            conn,
            last_try,
            due_at=post.clock() + HOLD,
            followers_due_at=post.clock(),
            outcome=Outcome(status=500, error="broken", duration_ms=1),
            now=post.clock(),
        )
    assert [delivery.number for delivery in await claim(post)] == [2]


async def test_deleted_batch_waits_for_what_is_on_its_way(post: Post) -> None:
    left = "SELECT (SELECT count(*) FROM batches), (SELECT count(*) FROM webhook_deliveries)"
    await post.listen()
    batch_id, items = await post.make_items()
    await post.move(*items, phase=Phase.DONE, status="completed")
    await deletions.delete_batch(post.db, team=post.team, kind=Kind.CALL, batch_id=batch_id)
    async with post.db.transaction() as conn:
        [delivery] = await claim_within(conn, post)
        # Taken, and the commit that says so is still to come.
        await deletions.purge_deleted(post.db, unknown_grace=timedelta(0))
    await deletions.purge_deleted(post.db, unknown_grace=timedelta(0))
    assert await post.run("SELECT count(*) FROM items") == [(0,)]
    assert await post.run(left) == [(1, 1)]
    async with post.db.transaction() as conn:
        outcome = Outcome(status=200, error=None, duration_ms=1)
        await deliveries.end(conn, delivery, state="delivered", outcome=outcome, now=post.clock())
    await deletions.purge_deleted(post.db, unknown_grace=timedelta(0))
    assert await post.run(left) == [(0, 0)]


async def test_endpoint_that_got_nothing_is_served_before_one_that_did(post: Post) -> None:
    for name in "abc":
        await add_endpoint(post, name)
    _, items = await post.make_items(10)
    await post.move(*items, phase=Phase.DONE, status="completed")

    claimed = await claim(post, limit=4, per_endpoint=2)
    assert names_of(claimed) == {"a": 2, "b": 2}
    post.later(seconds=1)
    await end(post, next(one for one in claimed if one.url.endswith("/a")))

    assert names_of(await claim(post, limit=1, per_endpoint=2)) == {"c": 1}


async def test_endpoint_that_has_nothing_to_take_makes_room_for_others(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "ENDPOINTS_AT_ONCE", 1)
    await add_endpoint(post, "a")
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.LIVE, status="ringing")
    assert names_of(await claim(post)) == {"a": 1}
    await add_endpoint(post, "b")
    # What comes next waits at the first until that is told.
    await post.move(*items, phase=Phase.DONE, status="completed")
    await post.run("UPDATE webhook_endpoints SET tried_at = '-infinity'")

    assert await claim(post) == []
    assert names_of(await claim(post)) == {"b": 1}
