"""What people and pipes see of tasks: colour and tables on a terminal, plain lines for a pipe, JSON when asked for."""

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table
from rich.text import Text

from longcall.cli.answer import excerpt, what_came
from longcall.cli.ends import failure_sentence
from longcall.core.attempt import Attempt
from longcall.core.callback import EVENTS
from longcall.core.task import State
from longcall.core.text import span_text, time_text
from longcall.core.wire import Json
from longcall.sdk.client import Task
from longcall.sdk.view import Requeued, TaskView

STYLES = {
    State.SCHEDULED: "blue",
    State.WAITING: "yellow",
    State.RUNNING: "cyan",
    State.SUCCEEDED: "green",
    State.FAILED: "red",
    State.CANCELLED: "magenta",
}
WIDE = 110  # columns that hold an id and a whole call


def now() -> datetime:
    """The wall clock of the person who looks."""
    return datetime.now(UTC)  # noqa: TID251 — a command is the caller's own program: nothing hands it a clock


def style_of(task: TaskView) -> str:
    """The colour of its state; none for a state that only a newer server knows."""
    return next((style for state, style in STYLES.items() if state == task.state), "")


def print_json(data: Json) -> None:
    """One line for a pipe, something to read for people."""
    if sys.stdout.isatty():
        Console(soft_wrap=True).print_json(json.dumps(data, ensure_ascii=False))
    else:
        sys.stdout.write(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n")


def print_status(task: Task) -> None:
    """Everything about one task."""
    facts = list(_facts(task))
    if not sys.stdout.isatty():
        facts += [(f"attempt {each.number}", _attempt_line(each)) for each in task.attempts]
        sys.stdout.writelines(f"{name}: {value}\n" for name, value in facts)
        return
    console = Console(highlight=False)
    console.print(Text.assemble((task.id, "bold"), "  ", (task.state, style_of(task))))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts[2:]:
        table.add_row(f"  {name}", Text(value))
    console.print(table)
    if task.attempts:
        console.print()
        console.print(_attempts_table(task.attempts))


def print_list(tasks: Iterable[Task]) -> None:
    """One line a task: id, state, attempts, created, method, URL; tabs between them for a pipe."""
    if not sys.stdout.isatty():
        for task in tasks:
            fields = (task.id, task.state, str(task.attempt_count), time_text(task.create_time), task.method, task.url)
            sys.stdout.write("\t".join(fields) + "\n")
        return
    found = list(tasks)
    console = Console(highlight=False)
    console.print(_list_table(found, short=console.width < WIDE) if found else Text("no tasks", "dim"))


def print_requeued(found: Requeued) -> None:
    """One line a task: why it is overdue, and its id; a tab between them for a pipe."""
    rows = [(name, task_id) for name, ids in vars(found).items() for task_id in ids]
    if not sys.stdout.isatty():
        sys.stdout.writelines(f"{name}\t{task_id}\n" for name, task_id in rows)
    elif rows:
        Console(highlight=False).print(_requeued_table(rows))


def _requeued_table(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, task_id in rows:
        table.add_row(f"  {name}", Text(task_id))
    return table


def _facts(task: Task) -> Iterable[tuple[str, str]]:
    yield "id", task.id
    yield "state", task.state
    yield "call", f"{task.method} {task.url}"
    if task.labels:
        yield "labels", " ".join(f"{name}={value}" for name, value in task.labels.items())
    yield "created", _moment(task.create_time)
    if task.next_attempt_time and task.state in {State.SCHEDULED, State.WAITING}:
        yield "next attempt", _moment(task.next_attempt_time)
    if task.finish_time:
        yield "ended", f"{_moment(task.finish_time)}, {span_text(task.finish_time - task.create_time)} after it was created"
    if task.failure:
        yield "failure", failure_sentence(task.failure)
    if task.has_response:
        yield "response", what_came(task.response)
        if said := excerpt(task.response):
            yield "it says", said
    yield from _callbacks(task)


def _callbacks(task: Task) -> Iterable[tuple[str, str]]:
    """Who is to be told, of which ends unless it is all of them, and what became of each callback."""
    if wanted := task.raw.get("callback"):
        events = wanted.get("on", EVENTS)
        which = "" if set(events) == set(EVENTS) else f", on {', '.join(events)}"
        yield "callback", f"{wanted.get('url', '')}{which}"
    for told in task.callbacks:
        yield "told", f"{told.event} ({told.state}, {told.task_id})"


def _attempts_table(attempts: Iterable[Attempt]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("  attempt", "outcome", "started", "took", ""):
        table.add_column(name, overflow="fold")
    for each in attempts:
        style = "cyan" if each.outcome is None else "green" if each.trouble is None else "red"
        table.add_row(
            f"  {each.number}", Text(_outcome(each), style), each.start_time.astimezone().strftime("%H:%M:%S"), _took(each), _trouble(each)
        )
    return table


def _attempt_line(attempt: Attempt) -> str:
    parts = (_outcome(attempt), f"started {time_text(attempt.start_time)}", f"took {_took(attempt)}", _trouble(attempt))
    return ", ".join(part for part in parts if part)


def _outcome(attempt: Attempt) -> str:
    return f"{attempt.outcome or 'running'}{f' {attempt.status}' if attempt.status else ''}"


def _took(attempt: Attempt) -> str:
    return span_text((attempt.end_time or now()) - attempt.start_time)


def _trouble(attempt: Attempt) -> str:
    if attempt.trouble is None or attempt.status is not None:
        return ""  # an answer is said by its status
    return f"{attempt.trouble.message}{f' ({attempt.trouble.hint})' if attempt.trouble.hint else ''}"


def _list_table(tasks: Iterable[Task], *, short: bool) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0), expand=True)
    for name in ("id", "state", "attempts", "age"):
        table.add_column(name, no_wrap=True)
    table.add_column("call", no_wrap=True, ratio=1)  # gets what the others leave
    for task in tasks:
        age = span_text(now() - task.create_time)
        call = task.url.partition("://")[2] if short else f"{task.method} {task.url}"
        table.add_row(task.id, Text(task.state, style_of(task)), str(task.attempt_count), age, Text(call))
    return table


def _moment(value: datetime) -> str:
    if not sys.stdout.isatty():
        return time_text(value)
    away = now() - value
    relative = f"{span_text(away)} ago" if away >= timedelta() else f"in {span_text(-away)}"
    return f"{value.astimezone().strftime('%Y-%m-%d %H:%M:%S %Z').strip()} ({relative})"
