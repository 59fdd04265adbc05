"""The client commands that change what goes on: cancel, retry, requeue."""

from longcall.cli import flags, options, show
from longcall.cli.again import retry_all
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


def retry(  # noqa: PLR0913 — each is an option that people can give
    task_id: options.OneOrPicked = None,
    *,
    state: options.States = None,
    label: options.Label = None,
    host: options.Host = None,
    reason: options.Reason = None,
    since: options.Since = None,
    yes: options.Yes = False,
    wait: options.ToTheEnd = False,
    as_json: options.AsJson = False,
    url: options.Url = None,
    token: options.Token = None,
) -> None:
    """Run a task again that has failed.

    Or one that was cancelled, or one that waits, now. Its attempts are counted afresh, and its history is kept. --wait waits for its end,
    and prints the target's answer.

    Without an id, all that --state (failed when not given), --label, --host, --reason and --since pick are run again. They are shown and
    asked about first. Exit code 1: one of them could not be run again.
    """
    follow = Follow(task_id, url) if task_id else None
    with ending(follow), Longcall(url, token) as client:
        picking = bool(state or label or host or reason or since)
        if follow is None:
            if not picking:
                raise flags.wrong("ID", "give a task's id, or pick tasks with --state, --label, --host, --reason or --since")
            if wait:
                raise flags.wrong("--wait", "it waits for one task: `longcall watch` follows many")
            retry_all(client, flags.parse_filters(state, label, host, reason, since), yes=yes, as_json=as_json)
            return
        if picking:
            raise flags.wrong("ID", "give either a task's id or options that pick tasks")
        task = client.retry(follow.task_id)
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
