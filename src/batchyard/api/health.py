"""Is it alive, can it serve, and its numbers: `/health/live`, `/health/ready`, `/metrics`."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from batchyard.clock import monotonic
from batchyard.errors import ConfigError
from batchyard.store.db import TRANSIENT, Database
from batchyard.store.gauges import Gauges, read_gauges
from batchyard.store.migrate import check_schema

READY_SECONDS = 2.0
"""A database that takes longer to answer is not ready."""
FRESH_SECONDS = 5.0
"""How old the database's numbers may be: many who ask cost no more than one."""
BEATEN_WITHIN = timedelta(seconds=10)

log = structlog.get_logger("batchyard.api.health")


class Reader:
    """Reads the database's numbers, at most once in a few seconds."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._gauges: Gauges | None = None
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def read(self) -> Gauges | None:
        """Return the numbers, or None while the database cannot be asked."""
        async with self._reading:
            if monotonic() - self._read_at >= FRESH_SECONDS:
                try:
                    async with self._db.pool.connection(timeout=READY_SECONDS) as conn:
                        self._gauges = await read_gauges(
                            conn, now=self._db.clock(), beaten_within=BEATEN_WITHIN
                        )
                except TRANSIENT as error:
                    log.warning("metrics.unread", error=str(error))
                    self._gauges = None
                self._read_at = monotonic()
            return self._gauges


class Numbers(Collector):
    """The database's numbers in the form of Prometheus."""

    def __init__(self, gauges: Gauges | None) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield each family; only `batchyard_database_up` while the database is away."""
        yield _gauge("database_up", "Whether the database answers.", int(self._gauges is not None))
        if self._gauges is None:
            return
        found = self._gauges
        yield _by("items", "Items by status.", "status", found.items)
        yield _gauge(
            "due_items", "Due items that no worker has taken: scale workers by it.", found.due_items
        )
        yield _gauge(
            "queue_age_seconds", "How long the oldest of them is due.", found.queue_age_seconds
        )
        yield _gauge("imports_running", "Uploads that are being read.", found.imports)
        yield _by(
            "webhook_deliveries",
            "Webhook deliveries that are open or ended within the last hour, by state.",
            "state",
            found.deliveries,
        )
        yield _gauge("workers", "Workers that are alive.", found.workers)


def build_door(db: Database) -> Starlette:
    """Build the door; it asks for no token and tells nothing of anybody."""
    reader = Reader(db)

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        try:
            async with asyncio.timeout(READY_SECONDS):
                async with db.pool.connection(timeout=READY_SECONDS) as conn:
                    await check_schema(conn)
        except ConfigError as error:
            return JSONResponse({"status": "unready", "reason": error.message}, status_code=503)
        except (*TRANSIENT, TimeoutError):
            reason = "The database does not answer."
            return JSONResponse({"status": "unready", "reason": reason}, status_code=503)
        return JSONResponse({"status": "ok"})

    async def metrics(_: Request) -> Response:
        registry = CollectorRegistry()
        registry.register(Numbers(await reader.read()))
        content = generate_latest(REGISTRY) + generate_latest(registry)
        return Response(content, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", metrics),
        ]
    )


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"batchyard_{name}", text, value=value)


def _by(name: str, text: str, label: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"batchyard_{name}", text, labels=[label])
    for word, value in values.items():
        family.add_metric([word], value)
    return family
