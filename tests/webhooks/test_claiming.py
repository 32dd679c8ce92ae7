"""Which deliveries a worker takes, and which it leaves."""

from collections.abc import Sequence

from batchyard.models import Phase
from batchyard.store import deliveries
from batchyard.store.deliveries import Delivery
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
