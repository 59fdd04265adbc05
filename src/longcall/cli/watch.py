"""`longcall watch`: all changes live, or those of some tasks up to their ends."""

import asyncio
from collections.abc import Iterable

from longcall.cli import flags, options
from longcall.cli.board import Tell, showing
from longcall.cli.ends import Follow, ending, say
from longcall.core.errors import NotFoundError
from longcall.sdk.async_client import AsyncLongcall, AsyncTask
from longcall.sdk.messages import Watched
from longcall.sdk.waiting import settled


def watch(
    task_ids: options.TaskIds = None,
    *,
    state: options.States = None,
    label: options.Label = None,
    as_json: options.AsJson = False,
    url: options.Url = None,
    token: options.Token = None,
) -> None:
    """Watch tasks as they change, until Ctrl-C.

    First all that have not ended, then each that changes. With ids, those tasks up to their ends; exit code 1: one of them failed or was
    cancelled.
    """
    ids = list(dict.fromkeys(task_ids or ()))
    with ending(Follow(ids[0], url) if len(ids) == 1 else None):
        if ids and (state or label):
            raise flags.wrong("--state" if state else "--label", "it picks among all tasks, so it goes without ids")
        states, labelled = [flags.parse_state(each) for each in state or ()], flags.parse_filter(label) if label else None
        with showing(as_json=as_json) as tell:
            if ids:
                ended = asyncio.run(_to_their_ends(url, token, ids, tell))
            else:
                ended = asyncio.run(_all(url, token, {"state": states, "label": labelled}, tell))
        for task in ended:
            settled(task)


async def _all(url: str | None, token: str | None, filters: Watched, tell: Tell) -> list[AsyncTask]:
    async with AsyncLongcall(url, token) as client:
        async for task in client.changes(tell, **filters):
            tell(task)
    return []


async def _to_their_ends(url: str | None, token: str | None, ids: Iterable[str], tell: Tell) -> list[AsyncTask]:
    async with AsyncLongcall(url, token) as client:
        return await asyncio.gather(*(_to_its_end(client, each, tell) for each in ids))


async def _to_its_end(client: AsyncLongcall, task_id: str, tell: Tell) -> AsyncTask:
    try:
        task = await client.get(task_id)
    except NotFoundError:
        say(f"there is no task {task_id} yet; waiting up to a minute for it", "yellow")
    async for task in client.events(task_id, tell):
        tell(task)
    return task
