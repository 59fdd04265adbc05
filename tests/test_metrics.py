"""`/metrics` as Prometheus reads it, over real sockets with everything behind it real too."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from longcall.assembly import Laptop, LaptopOptions, laptop
from longcall.core.errors import UnavailableError
from longcall.core.task import State, TaskSpec
from longcall.engine import metrics
from longcall.engine.gauges import KEPT_FOR, Gauges
from longcall.engine.metrics import TABLE, Kind
from longcall.engine.ports import Counts
from longcall.telemetry.tally import Distribution, Exposition, Tally
from tests.engine.house import House, Line
from tests.making import spec
from tests.target import Line as Connection
from tests.target import Serve, Target, well_behaved

Start = Callable[[Serve], Awaitable[Target]]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def families(text: str) -> list[Family]:
    """Every metric, as Prometheus' own client reads it."""
    return list(text_string_to_metric_families(text))


def samples(text: str) -> Samples:
    """Every sample by its name and labels."""
    return {(each.name, tuple(sorted(each.labels.items()))): each.value for family in families(text) for each in family.samples}


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Laptop]:
    """Everything, on free ports."""
    async with laptop(LaptopOptions(0, 0, 0, tmp_path / "data")) as running:
        yield running


async def scrape(stack: Laptop) -> Samples:
    """What Prometheus would see."""
    async with aiohttp.ClientSession(stack.api_url) as http, http.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        return samples(await answer.text())


async def test_a_scrape_counts_what_happened(stack: Laptop, serve: Start) -> None:
    """A task with a retry and a callback: dispatches, attempts by outcome, retries, ends, durations and the store's operations."""
    statuses = [503, 200]

    async def target(line: Connection) -> None:
        await line.request()
        await line.answer(statuses.pop(0))

    called, told = await serve(target), await serve(well_behaved)
    task = {
        "id": "train",
        "httpRequest": {"url": called.url},
        "retry": {"minBackoff": "0s", "maxBackoff": "0s"},
        "callback": {"url": told.url},
    }
    async with aiohttp.ClientSession(stack.api_url) as http:
        async with http.post("/v1/tasks", json=task) as answer:
            assert answer.status == 201, await answer.text()
        await asyncio.wait_for(told.called.wait(), 10)
        async with http.get("/v1/tasks/train.callback-5?wait=10s") as answer:
            assert (await answer.json())["state"] == "SUCCEEDED"
    found = await scrape(stack)
    call, callback = ("kind", "call"), ("kind", "callback")
    assert found["longcall_tasks_accepted_total", (call,)] == 1
    assert found["longcall_attempts_total", (call, ("outcome", "response"), ("status_class", "5xx"))] == 1
    assert found["longcall_attempts_total", (call, ("outcome", "response"), ("status_class", "2xx"))] == 1
    assert found["longcall_attempts_total", (callback, ("outcome", "response"), ("status_class", "2xx"))] == 1
    assert found["longcall_attempt_seconds_count", (call, ("outcome", "response"))] == 2
    assert found["longcall_attempt_seconds_bucket", (call, ("le", "86400.0"), ("outcome", "response"))] == 2
    assert found["longcall_retries_total", (call,)] == 1
    assert found["longcall_tasks_finished_total", (call, ("state", "SUCCEEDED"))] == 1
    assert found["longcall_callbacks_total", (("result", "delivered"),)] == 1
    assert found["longcall_dispatches_total", (("answer", "200"),)] >= 3
    assert found["longcall_queue_lag_seconds_count", ()] == 3
    assert found["longcall_store_seconds_count", (("operation", "insert"),)] >= 2  # the message may be quicker than the record
    assert found["longcall_tasks", (("state", "SUCCEEDED"),)] == 1
    assert found["longcall_runners", ()] == 1
    assert 0 <= found["longcall_lease_age_seconds", ()] < 30


async def test_every_metric_of_the_table_is_exposed_and_readable(stack: Laptop) -> None:
    """Each by its name and kind from the first scrape on, in both of Prometheus' formats; what has no labels with a value."""
    async with aiohttp.ClientSession(stack.api_url) as http:
        async with http.get("/metrics") as answer:
            plain = {family.name: family for family in families(await answer.text())}
        async with http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}) as answer:
            assert answer.headers["content-type"].startswith("application/openmetrics-text")
            modern = {family.name for family in openmetrics(await answer.text())}  # type: ignore[no-untyped-call] # it has no types here
        async with http.get("/metrics", headers={"Accept": "text/plain; version=none"}) as answer:
            assert answer.status == 200
    for metric in TABLE:
        family = plain[metric.prometheus.removesuffix("_total")]
        assert family.type == ("gauge" if metric.kind is Kind.STORE_GAUGE else metric.kind)
        assert family.documentation == metric.description
        assert family.samples or metric.labels
        assert metric.prometheus.removesuffix("_total") in modern


async def test_running_calls_have_their_number_and_ages() -> None:
    """How many, how old the oldest is, and the quantiles between; nothing of another runner's."""
    house = House()
    runner, other = await house.runner("r-1"), await house.runner("r-2")
    lines = [Line() for _ in range(3)]
    work = []
    for number, line in enumerate(lines):
        house.caller.answer = line
        await house.submit(f"t{number}")
        work.append(asyncio.create_task(runner.dispatcher.dispatch(house.first_message(f"t{number}"))))
        await line.open.wait()
        await house.clock.advance(90)
        await runner.lease.beat()
    await house.clock.advance(10)
    own = Gauges(house.store, house.clock, runner.calls, runner.lease).own()
    assert own[metrics.RUNNING] == {(): 3}
    assert own[metrics.RUNNING_OLDEST] == {(): 280}
    assert own[metrics.RUNNING_AGE] == {("0.5",): 190, ("0.9",): 280, ("0.99",): 280}
    assert own[metrics.LEASE_AGE] == {(): 10}
    assert Gauges(house.store, house.clock, other.calls, other.lease).own()[metrics.RUNNING] == {(): 0}
    for line in lines:
        line.end(house)
    await asyncio.gather(*work)


class Counting:
    """A house's store that counts how often it is asked, and may be away."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.asked = 0
        self.away = False

    async def counts(self, now: object) -> Counts:
        """Count."""
        self.asked += 1
        if self.away:
            raise UnavailableError("the store does not answer")
        return await self.house.store.counts(now)  # type: ignore[arg-type] # a datetime

    def __getattr__(self, name: str) -> object:
        """Everything else is the store's."""
        return getattr(self.house.store, name)


async def test_scraping_can_t_load_the_store() -> None:
    """However many scrape at once: the store is asked once in five seconds. Away, its metrics are missing and the runner's are there."""
    house = House()
    runner = await house.runner()
    await house.submit()
    store = Counting(house)
    gauges = Gauges(store, house.clock, runner.calls, runner.lease)  # type: ignore[arg-type] # the rest is handed through
    exposition = Exposition(Tally(), gauges)
    texts = await asyncio.gather(*(exposition("") for _ in range(20)))
    assert store.asked == 1
    assert samples(texts[0][0].decode())["longcall_tasks", (("state", State.SCHEDULED.value),)] == 1
    store.away = True
    await house.clock.advance(KEPT_FOR)
    found = samples((await exposition(""))[0].decode())
    assert store.asked == 2
    assert ("longcall_overdue", ()) not in found
    assert found["longcall_running", ()] == 0


async def test_where_a_scrape_meets_one_of_several_only_the_store_speaks() -> None:
    """On App Engine: nothing of this instance alone, which the next scrape would not meet."""
    house = House()
    runner = await house.runner()
    tally = Tally()
    tally.add(metrics.RECEIVED)
    exposition = Exposition(tally, Gauges(house.store, house.clock, runner.calls, runner.lease), only_stored=True)
    found = {family.name for family in families((await exposition(""))[0].decode())}
    assert found == {metric.prometheus for metric in TABLE if metric.kind is Kind.STORE_GAUGE}


async def test_a_callback_that_stays_is_late_after_an_hour() -> None:
    """Its receiver does not answer: counted from an hour after it was made until it ends."""
    house = House()
    runner = await house.runner()
    gauges = Gauges(house.store, house.clock, runner.calls, runner.lease)
    await house.submit(asked=_with_callback(house))
    await runner.dispatcher.dispatch(house.first_message("train"))
    ended = await house.task()
    await house.admission.tell(ended)
    assert (await gauges.stored())[metrics.CALLBACKS_LATE] == {(): 0}
    await house.clock.advance(3601)
    assert (await gauges.stored())[metrics.CALLBACKS_LATE] == {(): 1}


def _with_callback(house: House) -> TaskSpec:

    return spec(callback=house.hook)


def test_a_value_on_a_bound_counts_below_it() -> None:
    """As Prometheus and OpenTelemetry both have it: bounds are inclusive, and what is above the last one is counted."""
    taken = Distribution((1.0, 10.0))
    for value in (0.5, 1.0, 1.5, 10.0, 11.0):
        taken.take(value)
    assert taken.buckets() == [("1.0", 2.0), ("10.0", 4.0), ("+Inf", 5.0)]
    assert (taken.sum, taken.min, taken.max) == (24.0, 0.5, 11.0)
