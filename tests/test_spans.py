"""What callers and targets see of traces: over real sockets, with spans made or not."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from longcall.assembly import LaptopOptions, laptop
from longcall.settings import Otel, Settings, read
from tests.collector import collector
from tests.target import Serve, Target, well_behaved

Start = Callable[[Serve], Awaitable[Target]]
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])")


async def sent_on(
    target: Target, folder: Path, settings: Settings, headers: dict[str, str], own: dict[str, str] | None = None
) -> dict[str, str]:
    """What a target sees of a task that was created with these headers."""
    async with laptop(LaptopOptions(0, 0, 0, folder / "data", settings)) as stack, aiohttp.ClientSession(stack.api_url) as http:
        body = {"id": "train", "httpRequest": {"url": target.url, "headers": own or {}}}
        async with http.post("/v1/tasks", json=body, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
        async with http.get("/v1/tasks/train?wait=10s") as answer:
            assert (await answer.json())["state"] == "SUCCEEDED"
    return target.seen[0].headers


@pytest.mark.parametrize(
    ("headers", "flags", "state"),
    [
        ({"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=7"}, "01", "vendor=7"),
        ({"traceparent": f"00-{TRACE}-{SPAN}-00"}, "00", None),
        ({"x-cloud-trace-context": f"{TRACE}/1;o=1"}, "01", None),
        ({"x-cloud-trace-context": f"{TRACE}/1;o=0"}, "00", None),
    ],
)
async def test_a_trace_goes_on_to_the_target(headers: dict[str, str], flags: str, state: str | None, serve: Start, tmp_path: Path) -> None:
    """Its id, its flag and its state; the parent is the attempt, not the caller. No OpenTelemetry is needed for that."""
    seen = await sent_on(await serve(well_behaved), tmp_path, Settings(), headers)
    match = PARENT.fullmatch(seen["traceparent"])
    assert match is not None
    assert (match[1], match[3], seen.get("tracestate")) == (TRACE, flags, state)
    assert match[2] != SPAN


@pytest.mark.parametrize("header", ["nonsense", f"00-{TRACE}-{SPAN}-01-x", f"00-{'0' * 32}-{SPAN}-01"])
async def test_a_malformed_traceparent_starts_a_new_trace(header: str, serve: Start, tmp_path: Path) -> None:
    """The task is made all the same; a trace that begins here is sampled."""
    seen = await sent_on(await serve(well_behaved), tmp_path, Settings(), {"traceparent": header, "tracestate": "vendor=7"})
    match = PARENT.fullmatch(seen["traceparent"])
    assert match is not None
    assert match[1] not in {TRACE, "0" * 32}
    assert (match[3], seen.get("tracestate")) == ("01", None)


@pytest.mark.parametrize(("asked", "passed"), [(False, None), (True, "user=7")])
async def test_baggage_is_passed_on_when_that_is_asked_for(serve: Start, tmp_path: Path, *, asked: bool, passed: str | None) -> None:
    """It may name people, and the target may be anybody."""
    settings = replace(Settings(), otel=Otel(baggage=asked))
    seen = await sent_on(await serve(well_behaved), tmp_path, settings, {"traceparent": f"00-{TRACE}-{SPAN}-01", "baggage": "user=7"})
    assert seen.get("baggage") == passed


async def test_the_task_s_own_traceparent_wins(serve: Start, tmp_path: Path) -> None:
    """And our state is not put beside it: the two belong together."""
    own = f"00-{'ef' * 16}-{SPAN}-01"
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=7"}
    seen = await sent_on(await serve(well_behaved), tmp_path, Settings(), headers, {"traceparent": own})
    assert (seen["traceparent"], seen.get("tracestate")) == (own, None)


@pytest.mark.parametrize(
    ("sampler", "headers", "kept"),
    [
        ("", {}, True),
        ("", {"traceparent": f"00-{TRACE}-{SPAN}-01"}, True),
        ("", {"traceparent": f"00-{TRACE}-{SPAN}-00"}, False),
        ("parentbased_always_off", {}, False),
        ("parentbased_always_off", {"traceparent": f"00-{TRACE}-{SPAN}-01"}, True),
        ("always_off", {"traceparent": f"00-{TRACE}-{SPAN}-01"}, False),
    ],
)
async def test_sampling_is_kept(
    sampler: str, headers: dict[str, str], serve: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    """The caller's flag, or the sampler's word where a trace begins, holds for our spans and for the target's alike."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    if sampler:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    async with collector() as tap:
        settings = replace(Settings(), otel=Otel(traces=f"{tap.url}/v1/traces"))
        seen = await sent_on(await serve(well_behaved), tmp_path, settings, headers)
        if kept:
            await tap.until(lambda: len(tap.spans) == 3)
        await asyncio.sleep(0.5)
    match = PARENT.fullmatch(seen["traceparent"])
    assert match is not None
    assert match[3] == ("01" if kept else "00")
    assert sorted(span.name for span in tap.spans) == (["POST", "submit", "task.dispatched"] if kept else [])


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, Otel()),
        ({"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_SAMPLER": "always_on"}, Otel()),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, Otel("http://localhost:4318/v1/traces")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c/"}, Otel("http://c/v1/traces", "http://c/v1/metrics")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_METRICS_EXPORTER": "none"}, Otel("http://c/v1/traces")),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/t", "OTEL_METRICS_EXPORTER": "otlp"},
            Otel("http://c/t", "http://localhost:4318/v1/metrics"),
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, Otel()),
        ({"OTEL_PROPAGATORS": "tracecontext, baggage"}, Otel(baggage=True)),
        ({"OTEL_PROPAGATORS": "tracecontext"}, Otel()),
    ],
)
def test_opentelemetry_is_asked_for_by_its_own_variables(environ: dict[str, str], found: Otel) -> None:
    """An exporter or an endpoint asks; everything else only says how."""
    assert read(environ).otel == found
