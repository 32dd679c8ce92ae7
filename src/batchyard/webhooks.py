"""Tells those who listen what happened: signed, in order for each item, for a day at least."""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import groupby
from typing import Protocol
from uuid import UUID

import httpx
import structlog
from standardwebhooks import Webhook

import batchyard
from batchyard import tasks
from batchyard.clock import monotonic
from batchyard.config import Config
from batchyard.network import ConnectionLost, HttpClient, Unreachable
from batchyard.network.retry_after import read_retry_after
from batchyard.operations.webhooks import signing_secrets
from batchyard.store import deliveries
from batchyard.store.db import TRANSIENT, Database
from batchyard.store.deliveries import Delivery, Outcome

AT_ONCE = 64
"""Deliveries one worker has on their way."""
PER_ENDPOINT = 8
"""Deliveries on their way to one endpoint, from all workers together."""
TIMEOUT_SECONDS = 15.0
HOLD = timedelta(seconds=60)
"""After so long a worker that took a delivery is taken for dead; longer than a try takes."""
POLL_SECONDS = 0.5
READ_BYTES = 64 * 1024
"""How much of an answer is read, so that its connection can be used again."""

PAUSES = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 1800, 3600))
"""Before the second try, the third ...; the last one repeats until a day is over, and is kept once
more then."""
LONGEST_PAUSE = timedelta(hours=4)
"""However long a receiver asks us to wait."""
ORDERED_ATTEMPTS = 4
"""So often one is tried before those after it may overtake; their numbers tell."""

NUMBER_HEADER = "Batchyard-Number"
"""Counts what was told of one item, or one batch, from 1."""
EVENT_HEADER = "Batchyard-Event"

log = structlog.get_logger("batchyard.webhooks")


class Renderer(Protocol):
    """Writes bodies in the words of a door."""

    async def __call__(
        self, db: Database, *, deliveries: Sequence[Delivery], base_url: str
    ) -> Mapping[UUID, bytes]:
        """Return the body of each delivery; what is left out is told to nobody any more."""
        ...


Renderers = Mapping[str, Renderer]
"""By the first part of an endpoint's format: the door."""


async def run_webhooks(
    config: Config, db: Database, *, stop: asyncio.Event, renderers: Renderers
) -> None:
    """Deliver until `stop` is set; any number of workers may do it at once."""
    async with HttpClient(
        allow_private=config.webhook_allow_private, timeout_seconds=TIMEOUT_SECONDS
    ) as client:
        courier = Courier(config, db, client=client, renderers=renderers)
        try:
            while not stop.is_set():
                try:
                    await courier.deliver_due()
                except TRANSIENT as error:
                    log.warning("webhooks.postponed", error=str(error))
                    await asyncio.sleep(POLL_SECONDS)
                except Exception:  # one bad row must not silence everything else
                    log.exception("webhooks.broke")
                    await asyncio.sleep(POLL_SECONDS)
        finally:
            await courier.close()


def next_pause(delivery: Delivery, *, retry_after_seconds: float | None) -> timedelta:
    """Return how long to wait after a try that failed; never the same for all that failed."""
    pause = PAUSES[min(delivery.attempts, len(PAUSES)) - 1]
    # Between nine and eleven tenths, different for each.
    pause *= 0.9 + delivery.id.int % 1000 / 5000
    asked = timedelta(seconds=min(retry_after_seconds or 0, LONGEST_PAUSE.total_seconds()))
    return max(pause, asked)


def sign(
    secrets: Sequence[bytes], *, delivery_id: UUID, at: datetime, body: bytes
) -> dict[str, str]:
    """Return the headers of Standard Webhooks: one signature for each secret in use."""
    signatures = [
        Webhook(base64.b64encode(secret).decode()).sign(str(delivery_id), at, body.decode())
        for secret in secrets
    ]
    return {
        "webhook-id": str(delivery_id),
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


class Courier:
    """Delivers for one worker."""

    def __init__(
        self, config: Config, db: Database, *, client: HttpClient, renderers: Renderers
    ) -> None:
        self._base_url = config.callback_base
        self._db = db
        self._client = client
        self._renderers = renderers
        self._tasks: set[asyncio.Task[None]] = set()

    async def deliver_due(self) -> None:
        """Send off what is due; return when one got through, or after a short wait."""
        free = AT_ONCE - len(self._tasks)
        claimed: Sequence[Delivery] = []
        if free > 0:
            async with self._db.transaction() as conn:
                claimed = await deliveries.claim(
                    conn,
                    limit=free,
                    per_endpoint=PER_ENDPOINT,
                    ordered_attempts=ORDERED_ATTEMPTS,
                    hold=HOLD,
                    now=self._db.clock(),
                )
        for delivery, body in await self._render(claimed):
            task = asyncio.create_task(self._deliver(delivery, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._tasks:
            await asyncio.wait(
                self._tasks, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        else:
            await asyncio.sleep(POLL_SECONDS)

    async def close(self) -> None:
        """Break off; what was on its way is sent again by somebody else."""
        await tasks.end(*self._tasks)

    async def _render(self, claimed: Sequence[Delivery]) -> list[tuple[Delivery, bytes | None]]:
        rendered: list[tuple[Delivery, bytes | None]] = []
        for format_, group in groupby(sorted(claimed, key=_format), key=_format):
            of_format = list(group)
            renderer = self._renderers.get(format_.partition("/")[0])
            bodies: Mapping[UUID, bytes] = {}
            if renderer is not None:
                bodies = await renderer(self._db, deliveries=of_format, base_url=self._base_url)
            rendered += [(delivery, bodies.get(delivery.id)) for delivery in of_format]
        return rendered

    async def _deliver(self, delivery: Delivery, body: bytes | None) -> None:
        try:
            if body is None:
                outcome = Outcome(status=None, error="There is nothing to tell.", duration_ms=0)
                async with self._db.transaction() as conn:
                    await deliveries.end(
                        conn, delivery, state="dropped", outcome=outcome, now=self._db.clock()
                    )
                return
            tried_at, started = self._db.clock(), monotonic()
            status, error, retry_after = await self._post(delivery, body)
            duration_ms = round((monotonic() - started) * 1000)
            outcome = Outcome(status=status, error=error, duration_ms=duration_ms)
            await self._record(
                delivery, outcome, tried_at=tried_at, retry_after_seconds=retry_after
            )
        except TRANSIENT as error:
            # Its hold runs out, and it is sent again under the same id.
            log.warning("webhooks.outcome_lost", delivery=str(delivery.id), error=str(error))

    async def _record(
        self,
        delivery: Delivery,
        outcome: Outcome,
        *,
        tried_at: datetime,
        retry_after_seconds: float | None,
    ) -> None:
        now = self._db.clock()
        async with self._db.transaction() as conn:
            if outcome.error is None:
                await deliveries.end(conn, delivery, state="delivered", outcome=outcome, now=now)
                return
            # The last try is the first one after the whole day: a receiver may be away so long.
            if tried_at >= delivery.expires_at:
                await deliveries.end(conn, delivery, state="failed", outcome=outcome, now=now)
                return
            due_at = now + next_pause(delivery, retry_after_seconds=retry_after_seconds)
            may_overtake = delivery.attempts >= ORDERED_ATTEMPTS
            await deliveries.put_off(
                conn,
                delivery,
                due_at=due_at,
                followers_due_at=now if may_overtake else due_at,
                outcome=outcome,
                now=now,
            )

    async def _post(
        self, delivery: Delivery, body: bytes
    ) -> tuple[int | None, str | None, float | None]:
        """Return the status, what went wrong, and how long the receiver asks us to wait."""
        secrets = await signing_secrets(self._db, team_id=delivery.team_id)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"Batchyard/{batchyard.__version__}",
            EVENT_HEADER: delivery.type,
            NUMBER_HEADER: str(delivery.number),
            **sign(secrets, delivery_id=delivery.id, at=self._db.clock(), body=body),
        }
        try:
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                self._client.send(
                    "POST", httpx.URL(delivery.url), headers=headers, body=body
                ) as response,
            ):
                with suppress(ConnectionLost):
                    await response.read(at_most=READ_BYTES)
                if response.is_success:
                    return response.status, None, None
                sentence = f"The receiver answered {response.status}."
                pause = read_retry_after(
                    response.headers.get("retry-after", ""), now=self._db.clock()
                )
                return response.status, sentence, pause
        except TimeoutError as error:
            return None, str(error) or "The receiver did not answer in time.", None
        except (Unreachable, ConnectionLost, httpx.InvalidURL, OSError) as error:
            return None, str(error)[:500] or type(error).__name__, None


def _format(delivery: Delivery) -> str:
    return delivery.format
