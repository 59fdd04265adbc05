"""What goes out by OTLP, what that costs when nobody is there to take it, and that nothing is loaded when nobody asks for it."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from longcall.engine.metrics import TABLE, TO_A_DAY
from tests.collector import collector, said
from tests.end_to_end.program import environment, up
from tests.end_to_end.test_up import ask
from tests.google import free_port
from tests.target import Serve, Target, well_behaved

Start = Callable[[Serve], Awaitable[Target]]


async def test_metrics_go_out_by_otlp(serve: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every metric of the table under its own name, durations with buckets up to a day, and what is left when the process is stopped."""
    target = await serve(well_behaved)
    async with collector() as tap:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{tap.url}/v1/metrics")
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")
        async with up(tmp_path / "data") as running:
            await ask("POST", f"{running.api}/v1/tasks", {"id": "train", "httpRequest": {"url": target.url}})
            await ask("GET", f"{running.api}/v1/tasks/train?wait=10s")
            await tap.until(lambda: bool(points(tap.metrics, "longcall.tasks.finished")))
            await ask("POST", f"{running.api}/v1/tasks", {"id": "again", "httpRequest": {"url": target.url}})
            await ask("GET", f"{running.api}/v1/tasks/again?wait=10s")
            await running.stop()
        await tap.until(lambda: points(tap.metrics, "longcall.attempts")[-1] == 2)
    with_values = {metric.name for metric in tap.metrics if metric.WhichOneof("data")}
    assert {metric.name for metric in TABLE if not metric.labels} <= with_values
    assert not tap.spans
    attempt = [metric for metric in tap.metrics if metric.name == "longcall.attempt"][-1].histogram.data_points[0]
    assert list(attempt.explicit_bounds) == list(TO_A_DAY)
    assert (attempt.count, said(attempt.attributes)) == (2, {"kind": "call", "outcome": "response"})
    tasks = [metric for metric in tap.metrics if metric.name == "longcall.tasks"][-1].gauge.data_points
    assert {"SUCCEEDED"} <= {str(said(each.attributes)["state"]) for each in tasks}


def points(metrics: list[Metric], name: str) -> list[int]:
    """A counter's values as they came in, over all its labels."""
    return [sum(each.as_int for each in metric.sum.data_points) for metric in metrics if metric.name == name and metric.sum.data_points]


async def test_a_collector_that_is_away_costs_one_warning(serve: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks go on, the stop is not held up, and of all the failed exports the log has one line."""
    target = await serve(well_behaved)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.3")
    async with up(tmp_path / "data", LOG_FORMAT="json") as running:
        for number in range(20):
            await ask("POST", f"{running.api}/v1/tasks", {"id": f"t{number}", "httpRequest": {"url": target.url}})
            task = await ask("GET", f"{running.api}/v1/tasks/t{number}?wait=10s")
            assert task["state"] == "SUCCEEDED"
        await asyncio.sleep(1)
        start = time.monotonic()
        assert await running.stop() == 0
        assert time.monotonic() - start < 5
    lines = [json.loads(line) for line in (tmp_path / "up.log").read_text().splitlines()]
    warnings = [line for line in lines if line["level"] != "info" and line.get("logger") != "uvicorn.error"]
    assert [(line["event"], line["what"]) for line in warnings] == [("reach.lost", "the OTLP collector")], warnings


async def test_a_collector_that_comes_back_is_told_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Start) -> None:
    """Nothing has to be started anew; what was dropped meanwhile stays dropped, cumulative counts do not."""
    target = await serve(well_behaved)
    async with collector() as tap:
        url = tap.url
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{url}/v1/metrics")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "100")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.3")
    async with up(tmp_path / "data", LOG_FORMAT="json") as running:
        await ask("POST", f"{running.api}/v1/tasks", {"id": "train", "httpRequest": {"url": target.url}})
        await ask("GET", f"{running.api}/v1/tasks/train?wait=10s")
        while "the OTLP collector" not in (tmp_path / "up.log").read_text():  # noqa: ASYNC110 — a file of another process
            await asyncio.sleep(0.05)
        async with collector(int(url.rpartition(":")[2])) as back:
            await back.until(lambda: bool(points(back.metrics, "longcall.attempts")))
            assert points(back.metrics, "longcall.attempts")[0] == 1


LOADED = """
import asyncio, json, sys
from pathlib import Path
from longcall.settings import read
from longcall.assembly import LaptopOptions, laptop
from longcall.telemetry import set_up_silence

async def main():
    set_up_silence()
    async with laptop(LaptopOptions(0, 0, 0, Path(sys.argv[1]), read())):
        print(json.dumps(sorted(sys.modules)))

asyncio.run(main())
"""


AWAY = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.parametrize(("asked", "loaded"), [({}, False), ({**AWAY, "OTEL_SDK_DISABLED": "true"}, False), (AWAY, True)])
def test_nothing_is_loaded_unless_it_is_asked_for(asked: dict[str, str], tmp_path: Path, *, loaded: bool) -> None:
    """OpenTelemetry only when an OTEL_* asks for it, prometheus-client only when somebody scrapes."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(tmp_path / "data")], capture_output=True, text=True, check=True, env=environment() | asked
    )
    modules = json.loads(done.stdout)
    assert (
        any(name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")) for name in modules) is loaded
    )  # Google's client loads the API
    assert not any(name.partition(".")[0] == "prometheus_client" for name in modules)
