import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.trace import SpanKind

from tests.collector import Participant, collector, said
from tests.end_to_end.fleet import fleet
from tests.end_to_end.program import up
from tests.end_to_end.test_fleet import ends
from tests.target import Line, Serve, Target

Start = Callable[[Serve], Awaitable[Target]]


class Traced:
    """A service that has spans of its own, and holds its first call until it is told to answer."""

    def __init__(self, name: str, participant: Participant) -> None:
        self.name = name
        self.participant = participant
        self.calls = asyncio.Semaphore(0)
        self.answering = asyncio.Event()

    async def __call__(self, line: Line) -> None:
        """One call."""
        seen = await line.request()
        with self.participant.span(self.name, SpanKind.SERVER, seen.headers):
            self.calls.release()
            await self.answering.wait()
        await line.answer()


async def test_one_trace_from_the_client_to_the_callback(serve: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Submit, two attempts on two runners, the target's own spans, the callback and its receiver's: one trace, each below the right one."""
    async with collector() as tap:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", tap.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        participant = Participant.sending_to(tap)
        service, hook = Traced("train", participant), Traced("hook", participant)
        hook.answering.set()
        target, receiver = await serve(service), await serve(hook)
        async with fleet(tmp_path) as parts:
            first = await parts.runner(WEBHOOK_SECRETS="whsec_" + "a2tra2tra2tra2tra2tra2tra2tra2tr")
            with participant.span("client", SpanKind.CLIENT, {}) as headers:
                headers["tracestate"] = "vendor=7"
                asked = {"id": "train", "httpRequest": {"url": f"{target.url}?key=secret"}, "callback": {"url": receiver.url}}
                async with aiohttp.ClientSession(first.ready["api"]) as http, http.post("/v1/tasks", json=asked, headers=headers) as answer:
                    assert answer.status == 201, await answer.text()
            await asyncio.wait_for(service.calls.acquire(), 10)
            await tap.until(lambda: len(tap.named("task.dispatched")) == 1)  # the call still runs
            assert not tap.named("POST")
            await first.stop()
            second = await parts.runner(WEBHOOK_SECRETS="whsec_" + "a2tra2tra2tra2tra2tra2tra2tra2tr")
            await asyncio.wait_for(service.calls.acquire(), 30)
            service.answering.set()
            (task,) = await ends(second.ready["api"], ["train"])
            await asyncio.wait_for(hook.calls.acquire(), 10)
            await tap.until(lambda: len(tap.named("POST")) == 3 and len(tap.named("hook")) == 1 and len(tap.named("train")) == 2)
    (client,), (submit,) = tap.named("client"), tap.named("submit")
    drained, made, told = tap.named("POST")
    assert {span.trace_id.hex() for span in tap.spans} == {task["trace"]}
    assert submit.parent_span_id == client.span_id
    assert {span.parent_span_id for span in (*tap.named("POST"), *tap.named("task.dispatched"))} == {submit.span_id}
    assert [span.parent_span_id for span in tap.named("train")] == [drained.span_id, made.span_id]
    assert [span.parent_span_id for span in tap.named("hook")] == [told.span_id]
    assert [each["span"] for each in task["attempts"]] == [drained.span_id.hex(), made.span_id.hex()]
    assert target.seen[0].headers["tracestate"] == "vendor=7"
    assert [link.span_id for link in tap.named("task.dispatched")[1].links] == [submit.span_id, drained.span_id]
    runners = [said(span.attributes)["longcall.runner"] for span in (drained, made)]
    assert runners == [each["runner"] for each in task["attempts"]]
    assert len(set(runners)) == 2
    assert "secret" not in "".join(map(str, tap.spans))
    check_attributes(target, drained, made)


def check_attributes(target: Target, drained: Span, made: Span) -> None:
    """The stable ones of HTTP, and an error where it was none of the target's."""
    assert said(made.attributes) == {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": target.port,
        "url.full": f"{target.url}?key=REDACTED",
        "http.request.resend_count": 1,
        "http.response.status_code": 200,
        "longcall.task": "train",
        "longcall.attempt": 2,
        "longcall.runner": said(made.attributes)["longcall.runner"],
    }
    assert (made.kind, made.status.code) == (Span.SPAN_KIND_CLIENT, Status.STATUS_CODE_UNSET)
    assert (said(drained.attributes)["error.type"], drained.status.code) == ("DRAINED", Status.STATUS_CODE_ERROR)


async def test_a_killed_runner_s_attempt_has_its_span(serve: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `kill -9` whoever settles the attempt tells of it under the id that its target was given: nobody's parent is missing."""
    async with collector() as tap:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{tap.url}/v1/traces")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        service = Traced("train", Participant.sending_to(tap))
        target = await serve(service)
        async with up(tmp_path / "data") as first, aiohttp.ClientSession(first.api) as http:
            async with http.post("/v1/tasks", json={"id": "train", "httpRequest": {"url": target.url}}) as answer:
                assert answer.status == 201, await answer.text()
            await asyncio.wait_for(service.calls.acquire(), 10)
            await tap.until(lambda: len(tap.named("task.dispatched")) == 1)
            await first.kill()
        service.answering.set()
        async with up(tmp_path / "data") as second, aiohttp.ClientSession(second.api) as http:
            async with http.get("/v1/tasks/train?wait=20s") as answer:
                task = await answer.json()
            await tap.until(lambda: len(tap.named("POST")) == 2 and len(tap.named("train")) == 2)
    lost, made = tap.named("POST")
    assert said(lost.attributes)["error.type"] == "LOST"
    assert [span.parent_span_id for span in tap.named("train")] == [lost.span_id, made.span_id]
    assert {span.trace_id.hex() for span in tap.spans} == {task["trace"]}
    assert not tap.metrics
