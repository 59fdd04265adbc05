"""What `longcall doctor` makes of what it found: each finding is a level, a sentence, and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from longcall.core.attempt import Break, Broken, Outcome, Responded
from longcall.core.text import duration_text, parse_duration

MAX_SKEW = timedelta(seconds=5)
ROUND, ROUND_PART, ROUND_FROM = 30.0, 0.02, 29.0  # limits are set in whole half minutes, and met a little late
BAD_GATEWAY = frozenset({502, 503, 504})
UNLIMITED = -1
_BACKOFF = {"minBackoff": timedelta(seconds=1), "maxBackoff": timedelta(seconds=30)}
_DOUBLINGS = 5
RETRY_FLAGS = "--max-attempts=unlimited --max-retry-duration=0s --min-backoff=1s --max-backoff=30s --max-doublings=5"


class Level(StrEnum):
    """How well something stands."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `todo` is what to do about it, empty where there is nothing."""

    name: str
    level: Level
    says: str
    todo: str = ""


class Share(NamedTuple):
    """One limit that a call has to fit into; `seconds` None where no limit is known. `cuts`: whether it ends the call when it passes."""

    whose: str
    seconds: float | None
    says: str
    cuts: bool = True


def budget_finding(shares: Sequence[Share]) -> Finding:
    """Which limit ends a call first; Longcall's own is that of the policy, and any shorter one is a warning."""
    known = [(each.seconds, each) for each in shares if each.seconds is not None and each.cuts]
    longest, first = max(seconds for seconds, _ in known), min(known, key=lambda each: each[0])[1]
    says = f"a call lasts {first.seconds:.0f} s at most, by the limit of the {first.whose}"
    if first.seconds == longest or first.whose == "policy":
        return Finding("limits", Level.OK, says)
    return Finding(
        "limits", Level.WARN, f"{says}: {first.says}", "docs/limits.md says where it is raised; or give calls an attemptTimeout below it"
    )


def queue_findings(name: str, full: str, queue: Mapping[str, Any], *, control: bool, room: int) -> list[Finding]:
    """Judge a queue as Cloud Tasks' REST API shows it. `room`: how many calls a runner was told to hold, 0 where nobody said.

    Right are unlimited attempts without an end, 1 s to 30 s apart, with 5 doublings: the queue only brings a task back to a runner.
    """
    return [
        _state(name, full, queue, control=control),
        _retries(name, full, queue),
        _rates(name, queue, room),
        *_routing(name, full, queue),
    ]


def _gcloud(verb: str, full: str, flags: str = "") -> str:
    _, project, _, location, _, queue = full.split("/")
    return f"gcloud tasks queues {verb} {queue} --project={project} --location={location} {flags}".rstrip()


def _state(name: str, full: str, queue: Mapping[str, Any], *, control: bool) -> Finding:
    state = str(queue.get("state", "RUNNING"))
    if state == "RUNNING":
        return Finding(name, Level.OK, f"{full} is there and runs")
    if state != "PAUSED":
        return Finding(name, Level.BAD, f"{full} is {state}: it dispatches nothing", "find out who disabled it, and why")
    what = "callbacks and the looks after lost runners wait" if control else "tasks are taken, and no call begins"
    return Finding(name, Level.BAD if control else Level.WARN, f"{full} is paused: {what}", _gcloud("resume", full))


def _retries(name: str, full: str, queue: Mapping[str, Any]) -> Finding:
    shown = queue.get("retryConfig", {})
    attempts, doublings = int(shown.get("maxAttempts", 0)), int(shown.get("maxDoublings", 0))
    spans = {key: parse_duration(shown.get(key, "0s")) for key in (*_BACKOFF, "maxRetryDuration")}
    ends, todo = spans["maxRetryDuration"], _gcloud("update", full, RETRY_FLAGS)
    odd = []
    if attempts != UNLIMITED:
        odd.append(f"maxAttempts is {attempts}, and -1 (unlimited) is right")
    if ends:
        odd.append(f"maxRetryDuration is {duration_text(ends)}, and none is right")
    loses = bool(odd)
    odd += [
        f"{key} is {duration_text(spans[key])}, and {duration_text(right)} is right"
        for key, right in _BACKOFF.items()
        if spans[key] != right
    ]
    if doublings != _DOUBLINGS:
        odd.append(f"maxDoublings is {doublings}, and {_DOUBLINGS} is right")
    if not odd:
        return Finding(f"{name} retries", Level.OK, "unlimited attempts without an end, 1 s to 30 s apart, 5 doublings")
    why = "; the queue may give a task up, and then nobody makes its call" if loses else ""
    return Finding(f"{name} retries", Level.BAD if loses else Level.WARN, f"{'; '.join(odd)}{why}", todo)


def _rates(name: str, queue: Mapping[str, Any], room: int) -> Finding:
    limits = queue.get("rateLimits", {})
    most, rate = int(limits.get("maxConcurrentDispatches", 0)), float(limits.get("maxDispatchesPerSecond", 0))
    says = f"at most {most} dispatches are open at once, {rate:g} begin a second"
    if most and room > most:
        todo = f"raise the queue's maxConcurrentDispatches to {room}, or take it as the limit it is"
        return Finding(f"{name} rates", Level.WARN, f"{says}: fewer than the {room} calls that one runner was given room for", todo)
    return Finding(f"{name} rates", Level.OK, says)


def _routing(name: str, full: str, queue: Mapping[str, Any]) -> list[Finding]:
    route, found = queue.get("appEngineRoutingOverride", {}), []
    if route.get("version"):
        says = f"every dispatch goes to version {route['version']} of service {route.get('service', 'default')}, whatever is deployed later"
        found.append(
            Finding(f"{name} routing", Level.WARN, says, "deploy.sh moves it along; without it, take the version off the override")
        )
    elif route.get("service"):
        found.append(Finding(f"{name} routing", Level.OK, f"dispatches go to service {route['service']}"))
    if queue.get("httpTarget"):
        says = "the queue has an httpTarget of its own, which changes where HTTP tasks go, or their headers"
        found.append(Finding(f"{name} routing", Level.WARN, says, _gcloud("update", full, "--clear-http-uri-override")))
    return found


def clock_finding(here: datetime, there: datetime) -> Finding:
    """Compare this machine's clock with one that is right."""
    skew = here - there
    seconds = abs(skew.total_seconds())
    if abs(skew) <= MAX_SKEW:
        return Finding("clock", Level.OK, f"within {MAX_SKEW.total_seconds():g} s of the queue's")
    says = f"this machine's clock is {seconds:.0f} s {'ahead of' if skew > timedelta() else 'behind'} the queue's"
    return Finding("clock", Level.WARN, says, "set it by NTP: schedules, deadlines and tokens go by it")


def files_finding(limit: int, max_calls: int) -> Finding:
    """Whether the limit on open files holds so many calls; 0 is a third of that limit, which does. A held call has two sockets."""
    room = max_calls or limit // 3
    says = f"at most {limit} open files, and room for {room} calls"
    if 2 * room >= limit:
        return Finding("open files", Level.BAD, f"{says}, which take two files each", f"raise the limit (ulimit -n) to {3 * room}")
    if 3 * room > limit:
        return Finding(
            "open files", Level.WARN, f"{says}: little is left for bodies and the store", f"raise the limit (ulimit -n) to {3 * room}"
        )
    return Finding("open files", Level.OK, says)


def call_finding(outcome: Outcome, hold: timedelta) -> Finding:
    """Say in words what became of a call that was to be held for so long."""
    if isinstance(outcome, Responded):
        return _answered(outcome)
    if outcome.how is Break.TIMED_OUT and outcome.sent_time is not None:
        return Finding("target", Level.OK, f"the line stood for {_seconds(hold)} without an end, and nothing cut it")
    trouble, lasted = outcome.trouble, _lasted(outcome)
    if outcome.how is not Break.DISCONNECTED or lasted is None:
        return Finding("target", Level.BAD, f"{outcome.name}: {trouble.message}", trouble.hint or "")
    ways = {"CLOSED": "closed", "RESET": "reset"}
    silent = f"{ways[trouble.code]} after {_seconds(lasted)} without an answer" if trouble.code in ways else trouble.message
    return Finding("target", Level.BAD, f"{silent}: {_looks_like(lasted, trouble.hint)}", "docs/limits.md says where each limit is raised")


def _answered(outcome: Responded) -> Finding:
    lasted, trouble = _lasted(outcome), outcome.trouble
    says = f"answered {outcome.response.status} after {_seconds(lasted or timedelta())}"
    if trouble is None:
        return Finding("target", Level.OK, says)
    if outcome.response.status in BAD_GATEWAY:
        return Finding(
            "target", Level.BAD, f"{says}: {_looks_like(lasted or timedelta(), trouble.hint)}", "ask whatever answers for the target"
        )
    return Finding(
        "target", Level.WARN, f"{says}: the way to it is open, and the call would count as failed", "look at what the target wants"
    )


def _looks_like(lasted: timedelta, known: str | None) -> str:
    """A guess at the limit that was met, where the length of the call allows one: a known limit, or a round number."""
    seconds = lasted.total_seconds()
    nearest = round(seconds / ROUND) * ROUND
    if known:
        return known.partition(": this ")[2] or known
    if seconds >= ROUND_FROM and abs(seconds - nearest) <= max(1.0, nearest * ROUND_PART):
        return f"looks like a limit of {nearest:.0f} s, on the way or the target's own"
    return "no limit is known at that length, so the target or its host may have failed"


def _lasted(outcome: Outcome) -> timedelta | None:
    return None if outcome.sent_time is None else outcome.end_time - outcome.sent_time


def _seconds(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds:.1f} s" if seconds < ROUND_FROM else f"{seconds:.0f} s"


def held(outcome: Outcome) -> dict[str, object]:
    """The held call for programs."""
    lasted = _lasted(outcome)
    return {
        "outcome": outcome.name,
        "status": outcome.response.status if isinstance(outcome, Responded) else None,
        "code": outcome.trouble.code if isinstance(outcome, Broken) else None,
        "seconds": None if lasted is None else round(lasted.total_seconds(), 3),
    }
