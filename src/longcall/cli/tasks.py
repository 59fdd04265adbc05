"""The client commands: submit, status, wait, list."""

import itertools
import sys
from datetime import timedelta
from typing import Annotated

import typer

from longcall.cli import flags, show
from longcall.cli.ends import Follow, ending, say
from longcall.cli.live import watching
from longcall.core.errors import NotFoundError
from longcall.sdk.client import Longcall, Task
from longcall.sdk.errors import TaskCancelled, TaskFailed, WaitTimeout
from longcall.sdk.messages import MAX_PAGE, Filters
from longcall.sdk.options import TaskOptions, span
from longcall.sdk.server import new_id

Url = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="The Longcall server; else LONGCALL_URL, else http://127.0.0.1:8080.")
]
Token = Annotated[str | None, typer.Option("--token", metavar="TOKEN", help="The server's token; else LONGCALL_TOKEN.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON: one line a task.")]
TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task's id.")]

Target = Annotated[str, typer.Argument(metavar="URL", help="What to call.")]
Data = Annotated[
    str | None, typer.Option("--data", "-d", metavar="TEXT", help="The body: text, @file, or - for standard input. JSON is sent as JSON.")
]
Method = Annotated[str, typer.Option("--method", "-X", metavar="METHOD", help="The HTTP method.")]
Headers = Annotated[
    list[str] | None, typer.Option("--header", "-H", metavar="HEADER", help="A header, like 'Accept: text/plain'; can be repeated.")
]
GivenId = Annotated[str | None, typer.Option("--id", metavar="ID", help="The task's id; the same again is the same task.")]
Retry = Annotated[
    str | None, typer.Option(metavar="POLICY", help="When to try again: max=5,jitter=full,min=1s,max-backoff=10m,multiplier=2,on=503+5xx")
]
AttemptTimeout = Annotated[str | None, typer.Option(metavar="TIME", help="The limit of one attempt, like 45m; up to 24h.")]
TaskTimeout = Annotated[str | None, typer.Option(metavar="TIME", help="The limit of all attempts together.")]
IdleTimeout = Annotated[str | None, typer.Option(metavar="TIME", help="Give an attempt up when the target is silent for so long.")]
ConnectTimeout = Annotated[str | None, typer.Option(metavar="TIME", help="The limit for reaching the target.")]
Schedule = Annotated[str | None, typer.Option(metavar="WHEN", help="Not before then, like 2026-11-24T08:00:00Z.")]
Labels = Annotated[list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="A label, like team=ml; can be repeated.")]
ToTheEnd = Annotated[bool, typer.Option("--wait", help="Wait for the end, and print the target's answer.")]
WaitTime = Annotated[str | None, typer.Option(metavar="TIME", help="How long to wait, like 10m; the task goes on.")]

States = Annotated[list[str] | None, typer.Option("--state", metavar="STATE", help="Only in this state, like running; can be repeated.")]
Label = Annotated[str | None, typer.Option(metavar="NAME=VALUE", help="Only with this label, like team=ml.")]
Host = Annotated[str | None, typer.Option(metavar="HOST", help="Only calls to this host.")]
Reason = Annotated[str | None, typer.Option(metavar="REASON", help="Only failed for this reason, like timed_out.")]
Since = Annotated[str | None, typer.Option(metavar="WHEN", help="Only created after then, like 2026-11-24T08:00:00Z.")]
Limit = Annotated[int, typer.Option(min=1, metavar="COUNT", help="At most so many.")]


def submit(  # noqa: PLR0913 — each is an option that people can give
    target: Target,
    *,
    data: Data = None,
    method: Method = "POST",
    header: Headers = None,
    task_id: GivenId = None,
    retry: Retry = None,
    timeout: AttemptTimeout = None,
    task_timeout: TaskTimeout = None,
    idle_timeout: IdleTimeout = None,
    connect_timeout: ConnectTimeout = None,
    schedule: Schedule = None,
    label: Labels = None,
    wait: ToTheEnd = False,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Ask for one HTTP call. It is made, retried and remembered by the server; --wait waits for its end."""
    follow = Follow(task_id or new_id(), url, made=False)
    with ending(follow), Longcall(url, token) as client:
        options = _content(data, flags.parse_headers(header or ()))
        options |= {
            "method": method.upper(),
            "labels": flags.parse_labels(label or ()),
            "retry": flags.parse_retry(retry) if retry is not None else None,
            "attempt_timeout": timeout,
            "task_timeout": task_timeout,
            "idle_timeout": idle_timeout,
            "connect_timeout": connect_timeout,
        }
        task = client.submit(target, id=follow.task_id, schedule_time=schedule, **options)
        follow.made = True
        for warning in task.warnings:
            say(f"warning: {warning}", "yellow")
        if wait:
            _finish(client, task, None, as_json=as_json)
        else:
            _submitted(task, follow, as_json=as_json)


def status(task_id: TaskId, *, as_json: AsJson = False, url: Url = None, token: Token = None) -> None:
    """Show a task with all its attempts."""
    with ending(), Longcall(url, token) as client:
        task = client.get(task_id)
        if as_json:
            show.print_json(task.raw)
        else:
            show.print_status(task)


def wait(
    task_id: TaskId,
    *,
    timeout: WaitTime = None,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Wait for a task's end, and print the target's answer. Exit code 1: failed or cancelled; 4: still running."""
    with ending(Follow(task_id, url)), Longcall(url, token) as client:
        limit = None if timeout is None else span("timeout", timeout)
        try:
            task = client.get(task_id)
        except NotFoundError:
            say(f"there is no task {task_id} yet; waiting up to a minute for it", "yellow")
            task = None
        _finish(client, task or task_id, limit, as_json=as_json)


def list_tasks(  # noqa: PLR0913 — each is an option that people can give
    *,
    state: States = None,
    label: Label = None,
    host: Host = None,
    reason: Reason = None,
    since: Since = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """List tasks, newest first."""
    with ending(), Longcall(url, token) as client:
        filters: Filters = {
            "state": [flags.parse_state(each) for each in state or ()],
            "host": host,
            "reason": reason,
            "created_after": since,
        }
        filters |= {"label": flags.parse_filter(label) if label else None, "page_size": min(limit, MAX_PAGE)}
        tasks = itertools.islice(client.list(**filters), limit)
        if not as_json:
            show.print_list(tasks)
            return
        for task in tasks:
            show.print_json(task.raw)


def _content(data: str | None, headers: dict[str, str]) -> TaskOptions:
    if data is None:
        return {"headers": headers}
    read = flags.read_data(data)
    if read.looks_like:
        say(f"warning: this looks like JSON and is none, and is sent as it is: {read.looks_like}", "yellow")
    if read.is_json and "content-type" not in {name.lower() for name in headers}:
        headers = {**headers, "Content-Type": "application/json"}
    return {"headers": headers, "body": read.body}


def _submitted(task: Task, follow: Follow, *, as_json: bool) -> None:
    if as_json:
        show.print_json(task.raw)
        return
    sys.stdout.write(f"{task.id}\n")
    if sys.stdout.isatty():
        say(f"{task.state.lower()}; wait for it with `{follow.command}`")


def _finish(client: Longcall, task: Task | str, timeout: timedelta | None, *, as_json: bool) -> None:
    try:
        with watching(task if isinstance(task, Task) else None) as tell:
            ended = client.wait(task, timeout, tell) if isinstance(task, str) else task.wait(timeout, tell)
    except (TaskFailed, TaskCancelled, WaitTimeout) as error:
        _unsuccessful(error, as_json=as_json)
        raise
    if as_json:
        show.print_json(ended.raw)
        return
    came = f": {show.what_came(ended.response)}" if ended.response else ""
    took = show.span((ended.finish_time or ended.update_time) - ended.create_time)
    say(f"{ended.id} succeeded after {took}, on attempt {ended.attempt_count}{came}")
    show.print_body(ended.response)


def _unsuccessful(error: TaskFailed | TaskCancelled | WaitTimeout, *, as_json: bool) -> None:
    if as_json:
        show.print_json(error.task.raw)
    elif isinstance(error, TaskFailed) and isinstance(error.task, Task) and error.task.response:
        said = show.excerpt(error.task.response)
        say(f"the target's last answer: {show.what_came(error.task.response)}{f': {said}' if said else ''}")
