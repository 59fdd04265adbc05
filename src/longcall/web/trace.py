"""Where in a trace a request was made."""

from starlette.requests import Request

from longcall.core import trace
from longcall.core.trace import TraceContext


def caller(request: Request, *, with_baggage: bool) -> TraceContext | None:
    """The caller's span, by W3C's headers or Google's older one; None when there is none, or none that is valid."""
    given = request.headers
    parents = given.getlist("traceparent")
    return trace.parse(
        ",".join(parents) if parents else None,
        ",".join(given.getlist("tracestate")),
        given.get("x-cloud-trace-context"),
        ",".join(given.getlist("baggage")) if with_baggage else "",
    )
