"""Keeps what a provider calls a request, before its effect is asked for."""

import asyncio

from batchyard.engine.failpoints import Failpoint, Step
from batchyard.engine.journal import Journal
from batchyard.engine.news import News
from batchyard.lifecycle import SENDING_STATUS
from batchyard.models import Phase, Request
from batchyard.providers.base import Keep
from batchyard.store.items import Settlement


def open_keep(journal: Journal, *, worker_id: int, failpoint: Failpoint) -> Keep:
    """Return what commits references of the items that this worker is sending."""

    async def keep(request: Request, reference: str) -> bool:
        if "\0" in reference:
            # PostgreSQL could not store it.
            return False
        failpoint.reach(Step.BEFORE_KEEP)
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        settlement = Settlement(
            id=request.item_id,
            attempt=request.attempt,
            worker_id=worker_id,
            phase=Phase.CALLING,
            status=SENDING_STATUS,
            next_attempt=request.attempt,
            from_phases=(Phase.CALLING,),
            is_undecided=True,
            reference=reference,
        )
        journal.write(News(settlement=settlement, written=written))
        is_kept = await written
        failpoint.reach(Step.AFTER_KEEP)
        return is_kept

    return keep
