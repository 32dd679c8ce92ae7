"""Which deliveries a worker takes, and which it leaves."""

from collections.abc import Sequence
from datetime import timedelta

from batchyard.models import Kind, Phase
from batchyard.operations import deletions
from batchyard.store import deliveries
from batchyard.store.db import Connection
from batchyard.store.deliveries import Delivery, Outcome
from batchyard.webhooks import HOLD, ORDERED_ATTEMPTS, PER_ENDPOINT
from tests.webhooks.conftest import Post


async def claim_within(conn: Connection, post: Post) -> Sequence[Delivery]:
    """Take what is due, as a worker does."""
    return await deliveries.claim(
        conn,
        limit=10,
        per_endpoint=PER_ENDPOINT,
        ordered_attempts=ORDERED_ATTEMPTS,
        hold=HOLD,
        now=post.clock(),
    )


async def claim(post: Post) -> Sequence[Delivery]:
    async with post.db.transaction() as conn:
        return await claim_within(conn, post)


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
