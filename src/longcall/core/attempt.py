"""An attempt is one HTTP request to the target; an outcome is how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from longcall.core.hints import looks_like


class Break(StrEnum):
    """The ways an attempt ends without a complete response."""

    UNREACHABLE = "unreachable"
    DISCONNECTED = "disconnected"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"
    REFUSED = "refused"
    CANCELLED = "cancelled"


RESPONSE = "response"
NEVER_SENT = frozenset({Break.UNREACHABLE, Break.REFUSED})
GATEWAY_TIMEOUT = 504
DRAINED = "DRAINED"
LOST = "LOST"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong: a code for programs, a plain sentence for people, and a guess at the cause where there is one."""

    code: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response of the target. Of a body over 16 KiB only `location` (a key of the body store) is kept here."""

    status: int
    headers: Mapping[str, str]
    size: int
    sha256: str
    inline: bytes | None = None
    location: str | None = None
    truncated: bool = False
    close_delimited: bool = False

    def header(self, name: str) -> str | None:
        """Return the header's value; `name` in lower case."""
        return self.headers.get(name)


@dataclass(frozen=True, slots=True)
class Responded:
    """The outcome `response`: complete, any status."""

    response: Response
    end_time: datetime
    sent_time: datetime | None = None

    @property
    def name(self) -> str:
        """The outcome's name in JSON."""
        return RESPONSE

    @property
    def ok(self) -> bool:
        """2xx and nothing else is success, as Cloud Tasks has it."""
        return 200 <= self.response.status <= 299  # noqa: PLR2004 — HTTP's own numbers

    @property
    def may_have_run(self) -> bool:
        """A target that answered has seen the request."""
        return True

    @property
    def trouble(self) -> Trouble | None:
        """Nothing is wrong with 2xx; any other status is said in a sentence, and a 504 with the limit it looks like."""
        if self.ok:
            return None
        gave_up = self.response.status == GATEWAY_TIMEOUT
        hint = looks_like(self.end_time - self.sent_time) if gave_up and self.sent_time is not None else None
        return Trouble("STATUS", f"the target answered {self.response.status}", hint)


@dataclass(frozen=True, slots=True)
class Broken:
    """Any other outcome. `sent_time` is when the request's head began to be written; None when that never happened."""

    how: Break
    trouble: Trouble
    end_time: datetime
    sent_time: datetime | None = None

    @property
    def name(self) -> str:
        """The outcome's name in JSON."""
        return self.how.value

    @property
    def ok(self) -> bool:
        """Never."""
        return False

    @property
    def may_have_run(self) -> bool:
        """False only where it is known that nothing was sent."""
        return self.how not in NEVER_SENT

    @property
    def drained(self) -> bool:
        """Our runner was stopped: the attempt does not count against `maxAttempts`."""
        return self.how is Break.INTERRUPTED and self.trouble.code == DRAINED


Outcome = Responded | Broken


def drained(now: datetime, sent_time: datetime | None = None) -> Broken:
    """Our runner is stopping and closed the connection."""
    return Broken(Break.INTERRUPTED, Trouble(DRAINED, "the runner was stopped while the call was open"), now, sent_time)


def cancelled(now: datetime, sent_time: datetime | None = None) -> Broken:
    """The caller asked for it, so we closed the connection; the target may go on working."""
    return Broken(Break.CANCELLED, Trouble("CANCELLED", "its cancel was asked for, so the connection was closed"), now, sent_time)


def lost(now: datetime, runner: str) -> Broken:
    """Our runner is gone without a word; how far the call came is unknown."""
    return Broken(Break.INTERRUPTED, Trouble(LOST, f"runner {runner} was lost while the call was open"), now)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One entry of a task's history. While the attempt runs, everything from `sent_time` on is None.

    `span` is its id in the trace, 16 hex digits: what the target was told is its parent.
    """

    number: int
    runner: str
    start_time: datetime
    sent_time: datetime | None = None
    end_time: datetime | None = None
    outcome: str | None = None
    status: int | None = None
    may_have_run: bool | None = None
    trouble: Trouble | None = None
    retry_time: datetime | None = None
    span: str = ""
    extra: Mapping[str, object] = field(default_factory=dict)
