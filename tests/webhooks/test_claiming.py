"""Which deliveries a worker takes, and which it leaves."""

from collections.abc import Sequence

from batchyard.models import Phase
from batchyard.store import deliveries
from batchyard.store.deliveries import Delivery, Outcome
from batchyard.webhooks import HOLD, ORDERED_ATTEMPTS, PER_ENDPOINT
from tests.webhooks.conftest import Post


async def claim(post: Post) -> Sequence[Delivery]:
    """Take what is due, as a worker does."""
    async with post.db.transaction() as conn:
        return await deliveries.claim(
            conn,
            limit=10,
            per_endpoint=PER_ENDPOINT,
            ordered_attempts=ORDERED_ATTEMPTS,
            hold=HOLD,
            now=post.clock(),
        )


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
