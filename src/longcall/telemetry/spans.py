"""Spans by OpenTelemetry, made when they have ended from what the record says: no span is held open for the hours of a call.

Attributes are those of the stable HTTP conventions (https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span);
for the queue's, which are in development, `messaging.system` is our own choice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, set_span_in_context
from opentelemetry.trace.span import TraceState

from longcall.core.attempt import Outcome, Responded
from longcall.core.task import Kind, Task, Unreadable
from longcall.core.trace import TraceContext, shown_url

Attributes = Mapping[str, str | int]
PORTS = {"http": 80, "https": 443}


SCOPE = InstrumentationScope("longcall")
OK, WRONG = Status(), Status(StatusCode.ERROR)


@dataclass(frozen=True)
class Spans:
    """The engine's spans: `submit`, `task.dispatched` and one for each attempt.

    They are made as what they are when they have ended, with the ids that the records have: a tracer would make ids of its own, and take
    three times as long. `sampler` says which traces are kept, `ended` is given each span.
    """

    sampler: Sampler
    resource: Resource
    ended: Callable[[ReadableSpan], None]
    new_span_id: Callable[[], str]

    def samples(self, context: TraceContext) -> bool:
        """What the sampler says of a task's span; by OpenTelemetry's default what its caller said, and yes without one."""
        parent = set_span_in_context(NonRecordingSpan(_place(context, context.parent))) if context.parent else None
        said = self.sampler.should_sample(parent, int(context.trace, 16), "submit", SpanKind.PRODUCER)
        return said.decision is Decision.RECORD_AND_SAMPLE

    def created(self, task: Task, now: datetime) -> None:
        """The task's own span. A callback has none: it hangs from its parent's."""
        if task.kind is Kind.CALL and task.origin is not None:
            self._span("submit", SpanKind.PRODUCER, task.origin, (task.create_time, now), _queued(task, "send"))

    def started(self, task: Task) -> None:
        """`task.dispatched`, with links to the task's span and to the attempt before: minutes or hours lie between."""
        attempt = task.attempt
        if task.origin is None or attempt is None:
            return
        before = [each.span for each in task.attempts[-2:-1] if each.span]
        links = [Link(_place(task.origin, span)) for span in (task.origin.span, *before)]
        said = _queued(task, "process") | {"longcall.attempt": attempt.number, "longcall.runner": attempt.runner}
        context = task.origin.child(self.new_span_id())
        self._span("task.dispatched", SpanKind.CONSUMER, context, (attempt.start_time, attempt.start_time), said, links=links)

    def settled(self, task: Task, outcome: Outcome) -> None:
        """The attempt, from its start to its end."""
        attempt = task.attempt
        if task.origin is None or attempt is None or not attempt.span or isinstance(task.spec, Unreadable):
            return
        said = _http(task, outcome) | {"longcall.task": task.id, "longcall.attempt": attempt.number, "longcall.runner": attempt.runner}
        context = task.origin.child(attempt.span)
        name, times = task.spec.request.method, (attempt.start_time, outcome.end_time)
        self._span(name, SpanKind.CLIENT, context, times, said, wrong=not outcome.ok)

    def _span(  # noqa: PLR0913 — a span has as many parts as it has
        self,
        name: str,
        kind: SpanKind,
        context: TraceContext,
        times: tuple[datetime, datetime],
        attributes: Attributes,
        *,
        links: Sequence[Link] = (),
        wrong: bool = False,
    ) -> None:
        if not context.sampled:
            return
        start, end = map(_nanoseconds, times)
        self.ended(
            ReadableSpan(
                name,
                _place(context, context.span, is_remote=False),
                _place(context, context.parent) if context.parent else None,
                self.resource,
                attributes,
                links=links,
                kind=kind,
                status=WRONG if wrong else OK,
                start_time=start,
                end_time=max(start, end),
                instrumentation_scope=SCOPE,
            )
        )


def _place(context: TraceContext, span: str, *, is_remote: bool = True) -> SpanContext:
    """A span of this trace."""
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    state = TraceState.from_header([context.state]) if context.state else None
    return SpanContext(int(context.trace, 16), int(span, 16), is_remote, trace_flags=flags, trace_state=state)


def _queued(task: Task, operation: str) -> dict[str, str | int]:
    return {
        "messaging.system": "gcp_cloud_tasks",
        "messaging.operation.type": operation,
        "messaging.destination.name": task.queue.rpartition("/")[2],
        "messaging.message.id": task.id,
        "longcall.task": task.id,
    }


def _http(task: Task, outcome: Outcome) -> dict[str, str | int]:
    if isinstance(task.spec, Unreadable):
        return {}
    asked = task.spec.request
    url = urlsplit(asked.url)
    said: dict[str, str | int] = {
        "http.request.method": asked.method,
        "server.address": url.hostname or "",
        "server.port": url.port or PORTS.get(url.scheme, 0),
        "url.full": shown_url(asked.url),
    }
    if task.attempt_count > 1:
        said["http.request.resend_count"] = task.attempt_count - 1
    if isinstance(outcome, Responded):
        said["http.response.status_code"] = outcome.response.status
    if outcome.trouble is not None:
        said["error.type"] = str(outcome.response.status) if isinstance(outcome, Responded) else outcome.trouble.code
    return said


def _nanoseconds(time: datetime) -> int:
    return int(time.timestamp() * 1_000_000) * 1000
