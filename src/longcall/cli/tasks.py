"""The client commands: submit, status, wait, list."""

import itertools
import sys

from longcall.cli import flags, options, show
from longcall.cli.ends import Follow, ending, say
from longcall.cli.finish import finish
from longcall.core.errors import NotFoundError
from longcall.sdk.client import Longcall, Task
from longcall.sdk.messages import MAX_PAGE
from longcall.sdk.options import TaskOptions, span
from longcall.sdk.server import new_id


def submit(  # noqa: PLR0913 — each is an option that people can give
    target: options.Target,
    *,
    data: options.Data = None,
    method: options.Method = "POST",
    header: options.Headers = None,
    task_id: options.GivenId = None,
    retry: options.Retry = None,
    timeout: options.AttemptTimeout = None,
    task_timeout: options.TaskTimeout = None,
    idle_timeout: options.IdleTimeout = None,
    connect_timeout: options.ConnectTimeout = None,
    schedule: options.Schedule = None,
    callback: options.CallbackUrl = None,
    label: options.Labels = None,
    wait: options.ToTheEnd = False,
    as_json: options.AsJson = False,
    url: options.Url = None,
    token: options.Token = None,
) -> None:
    """Ask for one HTTP call.

    It is made, retried and remembered by the server; --wait waits for its end.
    """
    follow = Follow(task_id or new_id(), url, made=False)
    with ending(follow), Longcall(url, token) as client:
        asked = _content(data, flags.parse_headers(header or ()))
        asked |= {
            "method": method.upper(),
            "labels": flags.parse_labels(label or ()),
            "retry": flags.parse_retry(retry) if retry is not None else None,
            "attempt_timeout": timeout,
            "task_timeout": task_timeout,
            "idle_timeout": idle_timeout,
            "connect_timeout": connect_timeout,
            "callback": callback,
        }
        task = client.submit(target, id=follow.task_id, schedule_time=schedule, **asked)
        follow.made = True
        for warning in task.warnings:
            say(f"warning: {warning}", "yellow")
        if wait:
            finish(client, task, None, as_json=as_json)
        else:
            _submitted(task, follow, as_json=as_json)


def status(task_id: options.TaskId, *, as_json: options.AsJson = False, url: options.Url = None, token: options.Token = None) -> None:
    """Show a task with all its attempts."""
    with ending(), Longcall(url, token) as client:
        task = client.get(task_id)
        if as_json:
            show.print_json(task.raw)
        else:
            show.print_status(task)


def wait(
    task_id: options.TaskId,
    *,
    timeout: options.WaitTime = None,
    as_json: options.AsJson = False,
    url: options.Url = None,
    token: options.Token = None,
) -> None:
    """Wait for a task's end, and print the target's answer.

    Exit code 1: failed or cancelled; 4: still running.
    """
    with ending(Follow(task_id, url)), Longcall(url, token) as client:
        limit = None if timeout is None else span("timeout", timeout)
        try:
            task = client.get(task_id)
        except NotFoundError:
            say(f"there is no task {task_id} yet; waiting up to a minute for it", "yellow")
            task = None
        finish(client, task or task_id, limit, as_json=as_json)


def list_tasks(  # noqa: PLR0913 — each is an option that people can give
    *,
    state: options.States = None,
    label: options.Label = None,
    host: options.Host = None,
    reason: options.Reason = None,
    since: options.Since = None,
    limit: options.Limit = 50,
    as_json: options.AsJson = False,
    url: options.Url = None,
    token: options.Token = None,
) -> None:
    """List tasks, newest first."""
    with ending(), Longcall(url, token) as client:
        filters = flags.parse_filters(state, label, host, reason, since) | {"page_size": min(limit, MAX_PAGE)}
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
