"""Tasks as they might stand at 3 a.m., made by the lifecycle itself."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from longcall.core import lifecycle
from longcall.core.attempt import Break, Broken, Outcome, Responded, Response, Trouble, cancelled, drained
from longcall.core.retry import RetryPolicy
from longcall.core.task import Callback, HttpRequest, State, Task, TaskSpec, Unreadable
from tests.making import QUEUE

HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"
STATES = (State.SUCCEEDED, State.SUCCEEDED, State.RUNNING, State.FAILED, State.WAITING, State.SUCCEEDED, State.SCHEDULED, State.CANCELLED)


def seconds(number: float) -> timedelta:
    """So long."""
    return timedelta(seconds=number)


def made(task_id: str, at: datetime, url: str = "https://train-abc-uc.a.run.app/train", **asked: object) -> Task:
    """A task just created."""
    request = HttpRequest(url, headers={"Content-Type": "application/json", "Authorization": "Bearer s3cret"}, body=b'{"epochs":40}')
    spec = TaskSpec(request=request, **asked)  # type: ignore[arg-type] # the caller gives fields of TaskSpec
    return lifecycle.create(task_id, spec, queue=QUEUE, trace="4bf92f3577b34da6a3ce929d0e0e4736", now=at)


def answered(at: datetime, status: int = 200, body: bytes = b'{"ok":true}', kind: str = "application/json", sent: float = 1) -> Responded:
    """A complete response, to a request sent so many seconds before."""
    response = Response(status, {"content-type": kind}, len(body), "5e" * 32, inline=body)
    return Responded(response, end_time=at, sent_time=at - seconds(sent))


def cut(at: datetime, sent: float, hint: str | None = "cut after about 240 s: this looks like Azure's idle limit on the way") -> Broken:
    """A connection that broke, so many seconds after the request was sent."""
    return Broken(Break.DISCONNECTED, Trouble("RESET", "the connection was reset", hint), at, at - seconds(sent))


def unreachable(at: datetime) -> Broken:
    """A connection that never stood."""
    return Broken(Break.UNREACHABLE, Trouble("CONNECT", "no connection to 10.0.0.7:443: connection refused"), at)


def run(task: Task, at: datetime, outcome: Outcome, runner: str = "r-0123456789ab") -> Task:
    """An attempt from its beginning to its end."""
    return lifecycle.settle(lifecycle.take(task, runner, at), outcome, outcome.end_time, 0.5)


def three(now: datetime, runner: str = "r-0123456789ab") -> list[Task]:
    """One that has succeeded, one that runs, one that has failed."""
    done = run(made("train-1", now - seconds(400), labels={"team": "ml"}), now - seconds(399), answered(now - seconds(95), sent=303))
    running = lifecycle.take(made("train-2", now - seconds(190), labels={"team": "ml"}), runner, now - seconds(185))
    once = RetryPolicy(max_attempts=1)
    failed = run(made("train-3", now - seconds(300), retry=once), now - seconds(299), cut(now - seconds(58), 240))
    return [done, running, failed]


def many(now: datetime, count: int = 300, runner: str = "r-0123456789ab") -> list[Task]:
    """Of every state, over the last hours."""
    return [_one(number, now - seconds(20 + number * number * 0.3), runner) for number in range(count)]


def evenly(now: datetime, count: int, apart: float, runner: str = "r-0123456789ab") -> Iterator[Task]:
    """Of every state, one in so many seconds, the newest first."""
    return (_one(number, now - seconds(20 + number * apart), runner) for number in range(count))


def _one(number: int, at: datetime, runner: str) -> Task:
    hosts = ("train-abc-uc.a.run.app", "render.example.com", "10.0.0.7:8443")
    task = made(
        f"job-{number:04}",
        at,
        f"https://{hosts[number % 3]}/work/{number}",
        labels={"team": ("ml", "web")[number % 2]},
        retry=RetryPolicy(max_attempts=1 + number % 3),
    )
    took = 0.2 * 1.4 ** (number % 20)
    match STATES[number % len(STATES)]:
        case State.SCHEDULED:
            return replace(task, next_attempt_time=at + timedelta(days=1))
        case State.RUNNING:
            return lifecycle.take(task, runner if number % 3 else "r-gone", at + seconds(1))
        case State.SUCCEEDED:
            return run(task, at, answered(at + seconds(took), sent=took * 0.9))
        case State.CANCELLED:
            return lifecycle.cancel(task, at + seconds(3))
        case State.WAITING:
            waiting = run(
                replace(task, spec=replace(spec_of(task), retry=RetryPolicy())),
                at,
                answered(at + seconds(took), 503, b"busy", "text/plain", took),
            )
            return replace(waiting, next_attempt_time=at + timedelta(hours=number / 40))
        case _:
            while not task.state.ended:
                start = task.next_attempt_time or at
                task = run(task, start, unreachable(start + seconds(0.4)) if number % 2 else cut(start + seconds(took), took))
            return task


def spec_of(task: Task) -> TaskSpec:
    """What was asked for."""
    assert isinstance(task.spec, TaskSpec)
    return task.spec


def twelve(now: datetime) -> Task:
    """Twelve attempts of all kinds, the last of them running, after a retry by hand."""
    start = now - timedelta(hours=9)
    task = made("nightly-import", start, callback=Callback("https://me.example/hook"), retry=RetryPolicy(max_attempts=6))
    kinds: Sequence[tuple[float, object]] = (
        (0.4, "unreachable"),
        (240.3, "cut"),
        (61, 504),
        (300.5, 503),
        (12, "drained"),
        (120, 500),
        (3, 429),
        (240.2, "cut"),
        (2, "unreachable"),
        (90, 502),
        (1800.7, 503),
    )
    for took, kind in kinds:
        if task.state.ended:
            task = lifecycle.retry(task, task.update_time + timedelta(hours=5))
        at = task.next_attempt_time or start
        end = at + seconds(took)
        outcomes: dict[object, Outcome] = {
            "unreachable": unreachable(end),
            "cut": cut(end, took - 0.2),
            "drained": drained(end, at + seconds(0.1)),
        }
        task = run(task, at, outcomes.get(kind) or answered(end, int(str(kind)), b"busy", "text/plain", took - 0.1))
        if kind == 504 and task.state.ended:
            task = lifecycle.retry(task, task.update_time + seconds(20))
    if task.state.ended:
        task = lifecycle.retry(task, now - seconds(400))
    return lifecycle.take(task, "r-0123456789ab", now - seconds(220))


def nasty(now: datetime) -> Task:
    """HTML, other scripts, control of direction, and great length wherever a stranger may put text."""
    at = now - seconds(100)
    page = f"<!doctype html><title>x</title>{HOSTILE}".encode()
    request = HttpRequest(
        "https://api.example.com/" + "very-long/" * 60 + "?q=<script>alert(3)</script>&x=\u202eevil",
        headers={"X-Note": HOSTILE, "X-Long": "y" * 900},
        body=f'{{"note": "{"日本語 العربية 🙂 " * 20}", "html": "<script>alert(4)</script>"}}'.encode(),
    )
    labels = {"team": HOSTILE, "日本語": "العربية \u202e reversed", "long": "w" * 255}
    spec = TaskSpec(request=request, labels=labels, retry=RetryPolicy(max_attempts=1), callback=Callback("https://me.example/<b>hook</b>"))
    task = lifecycle.create("n" * 300 + "_asty-" + "A1" * 60, spec, queue=QUEUE, trace="ab" * 16, now=at)
    trouble = Trouble("STATUS", HOSTILE, HOSTILE)
    ended = run(task, at, answered(at + seconds(9), 500, page, "text/html"))
    return replace(ended, attempts=(replace(ended.attempts[0], trouble=trouble, runner=HOSTILE),))


def large(now: datetime) -> Task:
    """A JSON answer of 16 KiB."""
    body = ("[" + ",".join(f'{{"id":{number},"name":"item {number}","tags":["a","b"]}}' for number in range(360)) + "]").encode()
    return run(made("large-answer", now - seconds(70)), now - seconds(69), answered(now - seconds(60), body=body))


def invalid(now: datetime, raw: bytes = b'{"httpRequest": {"url": "ftp://x"}, "retryConfig": {}}') -> Task:
    """Something that was no valid task."""
    spec = Unreadable(
        raw, "/httpRequest/url: a URL with http:// or https:// was expected; /retryConfig: Longcall retries by its own policy"
    )
    return lifecycle.reject("by-hand-17", spec, queue=QUEUE, trace="cd" * 16, now=now - seconds(30))


def stopped(now: datetime) -> Task:
    """Cancelled while it ran."""
    task = lifecycle.take(made("stopped", now - seconds(50)), "r-0123456789ab", now - seconds(49))
    asked = lifecycle.cancel(task, now - seconds(20))
    return lifecycle.settle(asked, cancelled(now - seconds(19), now - seconds(48)), now - seconds(19), 0.5)
