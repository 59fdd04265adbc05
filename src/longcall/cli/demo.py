"""`longcall demo`: the whole story on free ports of this machine, with real parts: Google's client, gRPC, SQLite, sockets."""

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from longcall.cli.ends import USAGE
from longcall.cli.story import Chapter, Story, seconds
from longcall.cli.up import MISSING, fail
from longcall.core.errors import NotFoundError
from longcall.core.retry import Jitter, RetryPolicy
from longcall.core.text import human_duration

if TYPE_CHECKING:
    from google.cloud.tasks_v2 import Task

    from longcall.assembly import Laptop
    from longcall.cli.sample import Sample
    from longcall.sdk.async_client import AsyncLongcall, AsyncTask

SLOW_FOR = 8.0
FAILURES = 2
LOOK_EVERY = 0.1
LIMIT = 25.0  # seconds for all of it
JITTERED = RetryPolicy(
    max_attempts=3, min_backoff=human_duration("1s"), max_backoff=human_duration("2s"), multiplier=2.0, jitter=Jitter.FULL
)
TWICE = RetryPolicy(max_attempts=2, min_backoff=human_duration("1s"), max_backoff=human_duration("1s"), jitter=Jitter.EQUAL)


def demo() -> None:
    """See the whole story in under 30 s.

    A call is held, another is tried again, a third reaches nobody; on free ports of this machine. Exit 0 only if every step held.
    """
    try:
        import uvloop  # noqa: PLC0415 — the server's parts are not in the light install

        from longcall.telemetry import set_up_silence  # noqa: PLC0415 — as above
    except ModuleNotFoundError as error:
        raise fail(f"{error.name} is not installed; {MISSING}", USAGE) from None
    set_up_silence()
    story = Story(Console(soft_wrap=True, highlight=False), time.monotonic())
    story.console.print("[bold]Longcall's demo[/bold]: queue, runner, API and a service to call, all on free ports of this machine.\n")
    if not uvloop.run(_play(story)):
        raise typer.Exit(1)


async def _play(story: Story) -> bool:
    from longcall.assembly import HOST, LaptopOptions, laptop  # noqa: PLC0415 — the server's parts are not in the light install
    from longcall.cli.sample import Sample, unused_port  # noqa: PLC0415 — as above
    from longcall.sdk.async_client import AsyncLongcall  # noqa: PLC0415 — as above
    from longcall.web import server  # noqa: PLC0415 — as above

    sample = Sample(SLOW_FOR, FAILURES)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="longcall-demo-")))
        listening = stack.enter_context(server.listen(HOST, 0))
        await stack.enter_async_context(server.serve(sample.app(), listening))
        stage = await stack.enter_async_context(laptop(LaptopOptions(0, 0, 0, folder)))
        sample.secrets = stage.webhook_secrets["default"]
        longcall = await stack.enter_async_context(AsyncLongcall(stage.api_url))
        service = f"http://{HOST}:{listening.getsockname()[1]}"
        story.say(time.monotonic(), "longcall", f"is up: API at {stage.api_url}, Cloud Tasks queue over gRPC at {HOST}:{stage.grpc_port}")
        story.say(time.monotonic(), "service", f"is up at {service}: /train takes {SLOW_FOR:.0f} s, /flaky fails twice")
        play = _Play(story, stage, longcall, sample)
        try:
            async with asyncio.timeout(LIMIT):
                await play.all_parts(service, f"http://{HOST}:{unused_port()}/")
        except TimeoutError:
            story.check(held=False, what=f"everything ended within {LIMIT:.0f} s")
        return story.conclude()


@dataclass(frozen=True)
class _Play:
    story: Story
    stage: "Laptop"
    longcall: "AsyncLongcall"
    sample: "Sample"

    async def all_parts(self, service: str, nobody: str) -> None:
        from longcall.sdk.cloud_task import cloud_task  # noqa: PLC0415 — needs Google's client

        queue = self.stage.queue
        tasks = {
            "train": cloud_task(f"{service}/train", name="train", queue=queue, json={"epochs": 40}, callback=f"{service}/hook"),
            "flaky": cloud_task(f"{service}/flaky", name="flaky", queue=queue, json={}, retry=JITTERED),
            "nobody": cloud_task(nobody, name="nobody", queue=queue, json={}, retry=TWICE),
        }
        await self._put(tasks)
        train, flaky, gone = await asyncio.gather(*(self._follow(name) for name in tasks))
        await self._check_train(train)
        await self._check_told()
        self._check_flaky(flaky)
        self._check_gone(gone)
        listed = [task.id async for task in self.longcall.list()]
        self.story.check(sorted(listed) == sorted(tasks), "the list has all three tasks, each once")

    async def _put(self, tasks: "dict[str, Task]") -> None:
        """Put tasks on the queue as any program would that knows Cloud Tasks and has never heard of Longcall."""
        import grpc  # noqa: PLC0415 — the server's parts are not in the light install
        from google.cloud.tasks_v2 import CloudTasksAsyncClient  # noqa: PLC0415 — as above
        from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport  # noqa: PLC0415 — as above

        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.stage.grpc_port}") as channel:
            client = CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel))
            for name, task in tasks.items():
                await client.create_task(parent=self.stage.queue, task=task)
                self.story.say(time.monotonic(), name, "put on the queue by google-cloud-tasks, over gRPC")

    async def _follow(self, task_id: str) -> "AsyncTask":
        chapter = Chapter(self.story, task_id)
        while True:
            try:
                task = await self.longcall.get(task_id)
            except NotFoundError:  # its first dispatch makes it
                await asyncio.sleep(LOOK_EVERY)
                continue
            chapter.follow(task, time.monotonic())
            if task.ended:
                return task
            await asyncio.sleep(LOOK_EVERY)

    async def _check_train(self, task: "AsyncTask") -> None:
        held = seconds(task.attempts[-1]) if task.attempts else 0
        self.story.check(
            task.state == "SUCCEEDED" and held >= SLOW_FOR, f"the slow call was held open for {held:.1f} s until its answer came"
        )
        body = (await task.response.read()).decode() if task.has_response else ""
        self.story.check(body == '{"epochs":40,"loss":0.02}', f"its answer was read through the API: {body}")
        self.story.check(len(self.sample.calls("train")) == 1, "the service saw exactly one request for it")

    async def _check_told(self) -> None:
        event = await self.sample.told.get()
        self.story.say(time.monotonic(), "service", f"was called back: {event.type}, and the signature is right", "bold green")
        right = (event.type, event.task.id) == ("task.succeeded", "train")
        self.story.check(right, "its end was told by a callback, whose signature was verified")

    def _check_flaky(self, task: "AsyncTask") -> None:
        calls = self.sample.calls("flaky")
        statuses = [attempt.status for attempt in task.attempts]
        self.story.check(task.state == "SUCCEEDED" and statuses == [503, 503, 200], f"the flaky call succeeded at last: {statuses}")
        waits = [(each.retry_time - each.end_time).total_seconds() for each in task.attempts if each.retry_time and each.end_time]
        jittered = len(waits) == FAILURES and all(0 <= wait <= most + LOOK_EVERY for wait, most in zip(waits, (1, 2), strict=True))
        self.story.check(jittered, f"it waited {' and '.join(f'{wait:.2f} s' for wait in waits)} between: full jitter of 1 s and 2 s")
        keys = {call.get("idempotency-key") for call in calls}
        self.story.check(len(calls) == FAILURES + 1 and keys == {'"flaky"'}, "all three attempts carried the same Idempotency-Key")

    def _check_gone(self, task: "AsyncTask") -> None:
        failure = task.failure
        told = failure is not None and (failure.reason, failure.may_have_run) == ("unreachable", False)
        self.story.check(task.state == "FAILED" and told, "the call to nobody failed as unreachable, known never to have run")
        self.story.check(task.attempt_count == TWICE.max_attempts, "it was tried twice, as its policy says")
