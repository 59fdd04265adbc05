"""An OTLP collector on a real socket, and whoever else sends to it: a client, a target and a receiver with spans of their own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

from tests.google import free_port


@dataclass
class Collector:
    """What came in so far."""

    url: str
    spans: list[Span] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)

    async def until(self, enough: Callable[[], bool], patience: float = 15) -> None:
        """Wait until what came in is enough."""
        async with asyncio.timeout(patience):
            while not enough():  # noqa: ASYNC110 — what comes in is a list
                await asyncio.sleep(0.05)

    def named(self, name: str) -> list[Span]:
        """The spans of this name, in the order of their starts."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start_time_unix_nano)


@asynccontextmanager
async def collector(port: int = 0) -> AsyncIterator[Collector]:
    """Receive on this port; 0 takes a free one."""
    port = port or free_port()
    found = Collector(f"http://127.0.0.1:{port}")
    async with OtelTapHttpProtobufReceiver(OtelTapHttpProtobufReceiverSettings(http_port=port)) as receiver:

        async def keep_spans() -> None:
            async for span in receiver.stream_traces():
                found.spans.append(span)

        async def keep_metrics() -> None:
            async for metric in receiver.stream_metrics():
                found.metrics.append(metric)

        keeping = [asyncio.create_task(each()) for each in (keep_spans, keep_metrics)]
        await asyncio.sleep(0)  # so that both listen before anybody sends
        try:
            yield found
        finally:
            for each in keeping:
                each.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)


@dataclass
class Participant:
    """Somebody else with tracing of their own, as an SDK makes it."""

    provider: TracerProvider
    carrier: TraceContextTextMapPropagator = field(default_factory=TraceContextTextMapPropagator)

    @classmethod
    def sending_to(cls, collector: Collector) -> "Participant":
        """One whose spans go to the collector as soon as they end."""
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{collector.url}/v1/traces")))
        return cls(provider)

    @contextmanager
    def span(self, name: str, kind: SpanKind, headers: dict[str, str]) -> Iterator[dict[str, str]]:
        """A span below the one that the headers name; gives the headers that name this one."""
        context = self.carrier.extract(headers)
        with self.provider.get_tracer("test").start_as_current_span(name, context, kind):
            given: dict[str, str] = {}
            self.carrier.inject(given)
            yield given


def said(attributes: Iterable[KeyValue]) -> dict[str, object]:
    """Attributes as a dict."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "") for each in attributes}
