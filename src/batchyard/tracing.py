"""Traces by OpenTelemetry: from the request that lets a batch run to each call of a provider.

Nothing is traced unless a collector is set. A request's span goes on the
batch (`batches.traceparent`), and each request to a provider is a child of it, so one trace tells
what came of one upload. Spans name routes, never addresses with numbers in them.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from batchyard.errors import ConfigError

LAST_SPANS_SECONDS = 1.0
"""How long a process that stops waits for the collector to take its last spans."""

_tracer: Tracer | None = None
_propagator = TraceContextTextMapPropagator()


def is_on() -> bool:
    """Tell whether this process traces."""
    return _tracer is not None


@contextmanager
def sending(endpoint: str | None, *, share: float) -> Iterator[None]:
    """Send spans to a collector (OTLP over HTTP) while lent; without an endpoint do nothing.

    `share` of the traces that begin here are kept; a caller's own decision is followed. Raises
    `ConfigError` when the library is not installed.
    """
    if endpoint is None:
        yield
        return
    global _tracer  # noqa: PLW0603  # one per process, as OpenTelemetry's own
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
    except ImportError as error:
        raise ConfigError(
            "BATCHYARD_OTLP_ENDPOINT is set, but the library that sends traces is not installed. "
            "Install it: pip install 'batchyard[tracing]'."
        ) from error
    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(share),
        resource=Resource.create({"service.name": "batchyard"}),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("batchyard")
    try:
        yield
    finally:
        _tracer = None
        # A collector that is away must not keep the process: it is tried again for a minute.
        ending = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        ending.start()
        ending.join(LAST_SPANS_SECONDS)


@contextmanager
def request(method: str, headers: Mapping[str, str]) -> Iterator[Span]:
    """Trace a request that is served, within its sender's trace where it names one.

    Only while `is_on()`. Whoever serves it names the span and says how it was answered.
    """
    with _open(
        method,
        carrier=headers,
        kind=SpanKind.SERVER,
        attributes={"http.request.method": method},
    ) as span:
        yield span


@contextmanager
def provider_call(
    provider: str, *, traceparent: str | None, batch_id: UUID, item_id: UUID, attempt: int
) -> Iterator[Span]:
    """Trace one request to a provider, as a child of what let its batch run; while `is_on()`."""
    with _open(
        f"send {provider}",
        carrier={"traceparent": traceparent} if traceparent else {},
        kind=SpanKind.CLIENT,
        attributes={
            "batchyard.provider": provider,
            "batchyard.batch": str(batch_id),
            "batchyard.item": str(item_id),
            "batchyard.attempt": attempt,
        },
    ) as span:
        yield span


@contextmanager
def _open(
    name: str, *, carrier: Mapping[str, str], kind: SpanKind, attributes: Mapping[str, str | int]
) -> Iterator[Span]:
    """Open a span that says the type of an error only: its message may hold what must not go out.

    PostgreSQL's tell the values of a row.
    """
    assert _tracer is not None  # noqa: S101  # the caller's to ask
    with _tracer.start_as_current_span(
        name,
        context=_read(carrier),
        kind=kind,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except Exception as error:
            span.set_status(StatusCode.ERROR, type(error).__qualname__)
            raise


def current() -> str | None:
    """Return the span under way, as the header `traceparent` says it; None where none is."""
    return headers().get("traceparent")


def headers() -> dict[str, str]:
    """Return what a request to others carries, so that their spans join ours."""
    if _tracer is None:
        return {}

    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier


def _read(carrier: Mapping[str, str]) -> Context:

    return _propagator.extract(carrier, context=Context())
