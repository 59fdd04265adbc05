"""OpenTelemetry, when an `OTEL_*` asks for it: spans and metrics go out by OTLP over HTTP, from threads of their own."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from longcall.engine.gauges import Gauges
from longcall.engine.observe import Traces
from longcall.telemetry.exporters import MetricExporter, Outage, SpanExporter
from longcall.telemetry.google_session import GoogleSession
from longcall.telemetry.instruments import Histograms, observe_counters, observe_gauges
from longcall.telemetry.spans import Spans
from longcall.telemetry.tally import Tally

# Seconds for the last spans of a process that was told to stop; App Engine may kill it after two.
LAST_LIMIT = 0.5
Shutdown = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Otlp:
    """Where traces and metrics go, the whole URLs (empty: nowhere), and who tells: this release, under this runner's name."""

    traces: str
    metrics: str
    version: str
    runner: str


@asynccontextmanager
async def exporting(to: Otlp, tally: Tally, gauges: Gauges) -> AsyncIterator[Traces | None]:
    """Export until left; the last spans then have half a second. Raises CallerMistake where Google's endpoint finds no credentials."""
    google = await asyncio.to_thread(GoogleSession.for_any_of, to.traces, to.metrics)
    resource = _resource(to, google.project if google else "")
    shutdowns: list[Shutdown] = []
    spans = None
    with Outage().listening() as outage:
        if to.traces:
            spans, shutdown = _spans(SpanExporter(to.traces, google.for_endpoint(to.traces) if google else None, outage), resource)
            shutdowns.append(shutdown)
        if to.metrics:
            session = google.for_endpoint(to.metrics) if google else None
            exporter = MetricExporter(to.metrics, session, outage, Histograms(tally))
            shutdowns.append(_metrics(exporter, resource, tally, gauges))
        try:
            yield spans
        finally:
            await _in_time(shutdowns)


def _resource(to: Otlp, project: str) -> Resource:
    """Who tells; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win."""
    own = {"service.name": "longcall", "service.version": to.version, "service.instance.id": to.runner}
    where = {"gcp.project_id": project} if project else {}
    return Resource.create({**own, **where, **OTELResourceDetector().detect().attributes})


def _spans(exporter: SpanExporter, resource: Resource) -> tuple[Spans, Shutdown]:
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # reads which sampler is asked for
    batches = BatchSpanProcessor(exporter)
    chance = RandomIdGenerator()
    return Spans(provider.sampler, resource, batches.on_end, lambda: f"{chance.generate_span_id():016x}"), batches.shutdown


def _metrics(exporter: MetricExporter, resource: Resource, tally: Tally, gauges: Gauges) -> Shutdown:
    provider = MeterProvider([PeriodicExportingMetricReader(exporter)], resource, shutdown_on_exit=False)
    meter = provider.get_meter("longcall")
    observe_counters(meter, tally)
    observe_gauges(meter, gauges, asyncio.get_running_loop())
    return provider.shutdown


async def _in_time(shutdowns: Sequence[Shutdown]) -> None:
    """Shut down in threads that the end of the process does not wait for: a collector may be away."""
    loop = asyncio.get_running_loop()
    ends: list[asyncio.Future[None]] = [loop.create_future() for _ in shutdowns]

    def shut(shutdown: Shutdown, end: "asyncio.Future[None]") -> None:
        shutdown()
        with suppress(RuntimeError):  # too late: the loop is gone
            loop.call_soon_threadsafe(end.set_result, None)

    for each in zip(shutdowns, ends, strict=True):
        threading.Thread(target=shut, args=each, daemon=True).start()
    if ends:
        await asyncio.wait(ends, timeout=LAST_LIMIT)
