"""Waiting for a task's end on the command line, and printing what came of it."""

from datetime import timedelta

from longcall.cli import show
from longcall.cli.answer import excerpt, print_body, what_came
from longcall.cli.ends import say
from longcall.cli.live import watching
from longcall.core.text import span_text
from longcall.sdk.client import Longcall, Task
from longcall.sdk.errors import TaskCancelled, TaskFailed, WaitTimeout


def finish(client: Longcall, task: Task | str, timeout: timedelta | None, *, as_json: bool) -> None:
    """Wait for a task's end, and print the target's answer; with `as_json` the task. Raises as `Longcall.wait` does."""
    try:
        with watching(task if isinstance(task, Task) else None) as tell:
            ended = client.wait(task, timeout, tell) if isinstance(task, str) else task.wait(timeout, tell)
    except (TaskFailed, TaskCancelled, WaitTimeout) as error:
        _unsuccessful(error, as_json=as_json)
        raise
    if as_json:
        show.print_json(ended.raw)
        return
    came = f": {what_came(ended.response)}" if ended.has_response else ""
    took = span_text((ended.finish_time or ended.update_time) - ended.create_time)
    say(f"{ended.id} succeeded after {took}, on attempt {ended.attempt_count}{came}")
    if ended.has_response:
        print_body(ended.response)


def _unsuccessful(error: TaskFailed | TaskCancelled | WaitTimeout, *, as_json: bool) -> None:
    if as_json:
        show.print_json(error.task.raw)
    elif isinstance(error, TaskFailed) and error.task.has_response:
        said = excerpt(error.task.response)
        say(f"the target's last answer: {what_came(error.task.response)}{f': {said}' if said else ''}")
