"""What happened is written down in the transaction in which it happened, where somebody listens."""

import asyncio
from datetime import timedelta

import pytest
from psycopg import Rollback

from batchyard.models import BatchState, Kind, Phase
from batchyard.operations import control, deletions, privacy
from batchyard.operations import webhooks as operations
from batchyard.operations.audit import Actor
from batchyard.store import webhooks as store
from tests.factories import make_batch, make_items
from tests.webhooks.conftest import Post

GRACE = timedelta(minutes=10)
TOLD = "SELECT type, number FROM webhook_deliveries ORDER BY number"


async def test_every_change_is_numbered_for_its_item(post: Post) -> None:
    await post.listen()
    _, items = await post.make_items(3)
    await post.ring_and_end(*items)
    told = await post.run(
        "SELECT item_id, array_agg(type ORDER BY number), array_agg(number ORDER BY number)"
        " FROM webhook_deliveries GROUP BY item_id"
    )
    words = ["item.initiated", "item.ringing", "item.in-progress", "item.completed"]
    assert sorted(map(str, told)) == sorted(
        str((item_id, words, [1, 2, 3, 4])) for item_id in items
    )


async def test_nothing_is_written_where_nobody_listens(post: Post) -> None:
    _, items = await post.make_items()
    await post.ring_and_end(*items)
    assert await post.states() == []


async def test_nothing_stays_of_a_change_that_is_undone(post: Post) -> None:
    await post.listen()
    _, items = await post.make_items()
    async with post.db.transaction() as conn:
        await conn.execute(
            "UPDATE items SET phase = 'done', status = 'stopped' WHERE id = %s", (items[0],)
        )
        raise Rollback
    assert await post.states() == []


async def test_handing_back_is_no_news(post: Post) -> None:
    await post.listen()
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.CALLING, status="sending")
    await post.move(*items, phase=Phase.READY, status="waiting")
    assert await post.states() == []


async def test_retry_is_told_when_it_waits_and_when_it_goes(post: Post) -> None:
    await post.listen()
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.READY, status="retrying")
    await post.move(*items, phase=Phase.CALLING, status="sending")
    assert await post.run(TOLD) == [("item.retrying", 1), ("item.sending", 2)]


async def test_numbers_stay_in_order_under_concurrent_changes(post: Post) -> None:
    await post.listen()
    _, items = await post.make_items(20)
    words = ("initiated", "ringing", "in-progress")
    await asyncio.gather(
        *(post.move(*items, phase=Phase.LIVE, status=words[turn % 3]) for turn in range(12))
    )
    told = await post.run(
        "SELECT count(*), count(DISTINCT number), max(number) FROM webhook_deliveries"
        " GROUP BY item_id"
    )
    assert all(n == distinct == last for n, distinct, last in told)
    assert len(told) == 20


async def test_stop_is_told_for_each_call_not_sent(post: Post) -> None:
    await post.listen()
    batch_id, _ = await post.make_items(3)
    await control.stop_batch(post.db, team=post.team, kind=Kind.CALL, batch_id=batch_id)
    assert await post.run("SELECT type, count(*) FROM webhook_deliveries GROUP BY type") == [
        ("item.stopped", 3)
    ]


async def test_cancellation_is_told_once_for_each_call(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "BLOCK", 2)
    await post.listen()
    batch_id = await make_batch(post.db, team=post.team, kind=Kind.CALL, agent_id=post.agent_id)
    await make_items(post.db, team=post.team, batch_id=batch_id, n=5)
    await control.cancel_batch(post.db, team=post.team, kind=Kind.CALL, batch_id=batch_id)
    for _ in range(2):
        await control.end_stopped_items(post.db)
    assert await post.run(
        "SELECT type, count(*), count(DISTINCT item_id) FROM webhook_deliveries GROUP BY type"
    ) == [("item.canceled", 5, 5)]


async def test_deleted_batch_tells_nothing_more(post: Post) -> None:
    await post.listen()
    batch_id, items = await post.make_items()
    await deletions.delete_batch(post.db, team=post.team, kind=Kind.CALL, batch_id=batch_id)
    await post.move(*items, phase=Phase.DONE, status="completed")
    assert await post.states() == []


async def test_batch_tells_its_start_and_its_end_once(post: Post) -> None:
    batch_id = await make_batch(
        post.db, team=post.team, kind=Kind.CALL, state=BatchState.QUEUED, agent_id=post.agent_id
    )
    await make_items(post.db, team=post.team, batch_id=batch_id)
    async with post.db.transaction() as conn:
        await conn.execute("UPDATE batches SET webhook_url = 'https://x.example'")
        await store.add_of_batch(
            conn,
            team_id=post.team.id,
            batch_id=batch_id,
            url="https://x.example",
            format_="plain/1",
            now=post.clock(),
        )
    for state in ("running", "running", "paused", "running", "completed"):
        await post.run(
            "UPDATE batches SET state = %(state)s, finished_at = now(), updated_at = %(now)s",
            state=state,
            now=post.clock(),
        )
    assert await post.run(TOLD) == [("batch.started", 1), ("batch.ended", 2)]


async def test_batch_paused_before_its_start_tells_the_start_when_it_is_resumed(
    post: Post,
) -> None:
    batch_id = await make_batch(
        post.db, team=post.team, kind=Kind.CALL, state=BatchState.QUEUED, agent_id=post.agent_id
    )
    await make_items(post.db, team=post.team, batch_id=batch_id)
    async with post.db.transaction() as conn:
        await store.add_of_batch(
            conn,
            team_id=post.team.id,
            batch_id=batch_id,
            url="https://x.example",
            format_="plain/1",
            now=post.clock(),
        )
    for _ in range(2):
        await control.pause_batch(post.db, team=post.team, kind=Kind.CALL, batch_id=batch_id)
        await control.resume_batch(post.db, team=post.team, kind=Kind.CALL, batch_id=batch_id)
    assert await post.run(TOLD) == [("batch.started", 1)]


async def test_stopped_batch_tells_that(post: Post) -> None:
    batch_id, _ = await post.make_items()
    async with post.db.transaction() as conn:
        await conn.execute("UPDATE batches SET webhook_url = 'https://x.example'")
        await store.add_of_batch(
            conn,
            team_id=post.team.id,
            batch_id=batch_id,
            url="https://x.example",
            format_="plain/1",
            now=post.clock(),
        )
    await control.stop_batch(post.db, team=post.team, kind=Kind.CALL, batch_id=batch_id)
    assert await post.run(TOLD) == [("batch.stopped", 1)]


async def test_unknown_outcome_is_told_once_more_after_the_grace_time(post: Post) -> None:
    await post.listen()
    _, items = await post.make_items(2)
    await post.move(items[0], phase=Phase.UNKNOWN, status="unknown")
    await operations.tell_lapsed(post.db, unknown_grace=GRACE)
    assert await post.run(TOLD) == [("item.unknown", 1)]
    post.later(minutes=11)
    await post.move(items[1], phase=Phase.UNKNOWN, status="unknown")
    for _ in range(2):
        await operations.tell_lapsed(post.db, unknown_grace=GRACE)
    of_first = "SELECT type, number FROM webhook_deliveries WHERE item_id = %(id)s ORDER BY number"
    assert await post.run(of_first, id=items[0]) == [("item.unknown", 1), ("item.error", 2)]
    assert await post.run(of_first, id=items[1]) == [("item.unknown", 1)]


async def erase(post: Post) -> None:
    """Erase whoever is called."""
    await privacy.erase_person(
        post.db, team=post.team, actor=Actor(name="test"), number="+4520123456", email=None
    )


async def test_erased_outcome_is_not_told_again_and_its_numbers_go_on(post: Post) -> None:
    await post.listen()
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.UNKNOWN, status="unknown")
    post.later(minutes=11)
    await operations.tell_lapsed(post.db, unknown_grace=GRACE)
    told = [("item.unknown", 1), ("item.error", 2)]
    assert await post.run(TOLD) == told

    await erase(post)
    await operations.tell_lapsed(post.db, unknown_grace=GRACE)

    assert await post.run(TOLD) == told
    left = await post.run("SELECT DISTINCT state, data FROM webhook_deliveries")
    assert left == [("dropped", {})]
    await post.move(*items, phase=Phase.DONE, status="completed")
    assert await post.run(TOLD) == [*told, ("item.completed", 3)]


async def test_numbers_go_on_when_a_person_is_erased_during_the_call(post: Post) -> None:
    await post.listen()
    _, items = await post.make_items()
    await post.run('UPDATE item_data SET result = \'{"summary": "+45 20123456"}\'')
    await post.move(*items, phase=Phase.LIVE, status="ringing")

    await erase(post)

    await post.move(*items, phase=Phase.LIVE, status="in-progress")
    assert await post.run(TOLD) == [("item.ringing", 1), ("item.in-progress", 2)]
    assert await post.run("SELECT state FROM webhook_deliveries WHERE data = '{}'") == [
        ("dropped",)
    ]


async def test_what_waits_is_dropped_when_nobody_listens_any_more(post: Post) -> None:
    await post.listen()
    _, items = await post.make_items()
    await post.move(*items, phase=Phase.LIVE, status="ringing")
    async with post.db.transaction() as conn:
        await store.remove_of_agent(conn, agent_id=post.agent_id, now=post.clock())
    await post.move(*items, phase=Phase.DONE, status="completed")
    assert await post.states() == [("item.ringing", 1, "dropped", 0)]
