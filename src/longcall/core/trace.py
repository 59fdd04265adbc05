"""Where a task stands in a trace: W3C Trace Context read strictly (https://www.w3.org/TR/trace-context/), and written."""

import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit, urlunsplit

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_CLOUD = re.compile(r"([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=([0-9]{1,3}))?")
_KEY = r"[a-z0-9][a-z0-9_\-*/]{0,240}(?:@[a-z][a-z0-9_\-*/]{0,13})?"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(f"({_KEY})={_VALUE}")
_BAGGAGE = re.compile(r"[\x20-\x7e\t]{1,8192}")
_SAMPLED = 1
_NO_VERSION, _FIRST_VERSION = "ff", "00"
_LARGEST_SPAN = 2**64 - 1
MAX_MEMBERS, MAX_STATE, LONG_MEMBER = 32, 512, 128  # members, and characters
REDACTED = "REDACTED"


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A span's place: its trace (32 hex digits), its own id and its parent's (16 each, empty where there is none).

    `sampled` says whether the trace is kept; `state` is `tracestate`, `baggage` what its header said, if it is passed on.
    """

    trace: str
    span: str = ""
    parent: str = ""
    sampled: bool = True
    state: str = ""
    baggage: str = ""

    @property
    def traceparent(self) -> str:
        """The header that makes this span the parent of what is called."""
        return f"00-{self.trace}-{self.span}-{'01' if self.sampled else '00'}"

    def child(self, span: str) -> "TraceContext":
        """A span below this one: same trace, same sampling, same state."""
        return TraceContext(self.trace, span, self.span, self.sampled, self.state, self.baggage)


def parse(traceparent: str | None, tracestate: str = "", cloud: str | None = None, baggage: str = "") -> TraceContext | None:
    """Read a caller's headers; None where they name no trace, or none that is valid: a new one begins.

    `cloud` is `X-Cloud-Trace-Context`, which counts where there is no `traceparent`. A bad `tracestate` or `baggage` is left out.
    """
    found = _parent(traceparent) if traceparent is not None else _cloud_parent(cloud or "")
    if found is None:
        return None
    state = _state(tracestate) if traceparent is not None else ""
    return replace(found, state=state, baggage=baggage if _BAGGAGE.fullmatch(baggage) else "")


def _parent(text: str) -> TraceContext | None:
    match = _PARENT.fullmatch(text.strip(" \t"))
    if match is None:
        return None
    version, trace, span, flags, more = match.groups()
    if version == _NO_VERSION or (version == _FIRST_VERSION and more) or not trace.strip("0") or not span.strip("0"):
        return None
    return TraceContext(trace, span, sampled=bool(int(flags, 16) & _SAMPLED))


def _cloud_parent(text: str) -> TraceContext | None:
    """`TRACE/SPAN;o=1`, the span in decimal: https://cloud.google.com/trace/docs/trace-context#legacy-http-header."""
    match = _CLOUD.fullmatch(text.strip())
    if match is None or not match[1].strip("0") or int(match[2] or 0) > _LARGEST_SPAN:
        return None
    span = int(match[2] or 0)
    return TraceContext(match[1].lower(), f"{span:016x}" if span else "", sampled=bool(int(match[3] or 0) & _SAMPLED))


def _state(text: str) -> str:
    """The members as they came, at most 512 characters of them: the long ones go first, then the last (W3C, 3.3.1.5)."""
    members = [member for each in text.split(",") if (member := each.strip(" \t"))]
    keys = [match[1] for match in map(_MEMBER.fullmatch, members) if match]
    if len(members) > MAX_MEMBERS or len(set(keys)) < len(members):
        return ""
    if len(",".join(members)) > MAX_STATE:
        members = [member for member in members if len(member) <= LONG_MEMBER]
    while len(",".join(members)) > MAX_STATE:
        members.pop()
    return ",".join(members)


def shown_url(url: str) -> str:
    """A URL as others may see it: without user and password, every value of its query cut: it may be signed with one."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return REDACTED
    query = "&".join(f"{each.partition('=')[0]}={REDACTED}" if "=" in each else each for each in parts.query.split("&"))
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))
