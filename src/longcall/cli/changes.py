"""The client commands that change what goes on: cancel, retry, requeue."""

from longcall.cli import options, show
from longcall.cli.ends import Follow, ending, say
from longcall.cli.finish import finish
from longcall.core.task import State
from longcall.sdk.client import Longcall, Task
from longcall.sdk.view import Requeued


def cancel(task_id: options.TaskId, *, as_json: options.AsJson = False, url: options.Url = None, token: options.Token = None) -> None:
    """Cancel a task.

    One that waits ends at once; the call of one that runs is closed within two seconds, and its target may go on working.
    """
    with ending(), Longcall(url, token) as client:
        task = client.cancel(task_id)
        if as_json:
            show.print_json(task.raw)
        else:
            say(_cancelled(task))


def retry(
    task_id: options.TaskId,
    *,
    wait: options.ToTheEnd = False,
    as_json: options.AsJson = False,
    url: options.Url = None,
    token: options.Token = None,
) -> None:
    """Run a failed or cancelled task again, or a waiting one now.

    Its attempts are counted afresh, and its history is kept. --wait waits for its end, and prints the target's answer.
    """
    follow = Follow(task_id, url)
    with ending(follow), Longcall(url, token) as client:
        task = client.retry(task_id)
        if wait:
            finish(client, task, None, as_json=as_json)
        elif as_json:
            show.print_json(task.raw)
        else:
            say(f"{_retried(task)}; wait for it with `{follow.command}`")


def requeue(
    *, dry_run: options.DryRun = False, as_json: options.AsJson = False, url: options.Url = None, token: options.Token = None
) -> None:
    """Queue again whatever is overdue by five minutes.

    This is the way back after somebody purged the queue: tasks that wait, run without a runner, or have an end that was not told.
    """
    with ending(), Longcall(url, token) as client:
        found = client.requeue(dry_run=dry_run)
        if as_json:
            show.print_json({"dryRun": dry_run, **vars(found)})
            return
        show.print_requeued(found)
        say(_requeued(found, dry_run=dry_run))


def _cancelled(task: Task) -> str:
    if task.state == State.CANCELLED:
        return f"{task.id} is cancelled"
    return f"{task.id} is asked to stop: its call is closed within two seconds, and its target may go on working"


def _retried(task: Task) -> str:
    if task.state == State.RUNNING:
        return f"{task.id} is running, on attempt {task.attempt_count}, and nothing was changed"
    return f"{task.id} is due now, for attempt {task.attempt_count + 1}"


def _requeued(found: Requeued, *, dry_run: bool) -> str:
    if not any(vars(found).values()):
        return "nothing is overdue"
    parts = (
        f"{len(found.waiting)} waiting",
        f"{len(found.running)} running without a runner",
        f"{len(found.untold)} whose end was not told",
    )
    return f"{'overdue, and left as they are' if dry_run else 'queued again'}: {', '.join(parts)}"
