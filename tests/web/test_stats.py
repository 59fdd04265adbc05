"""GET /v1/stats and GET /v1/runners."""

from longcall.core.text import time_text
from longcall.engine.ports import Runner
from tests.engine.house import House
from tests.web import scenes
from tests.web.stand import browsing


async def test_stats_count_the_states() -> None:
    """All of them, with those that have none; what is overdue, and the oldest that has not ended."""
    house = House()
    now = house.clock.now()
    late = scenes.made("late", now - scenes.seconds(400))
    async with browsing(house, [*scenes.three(now), late]) as http:
        answer = await http.get("/v1/stats")
    assert answer.json() == {
        "byState": {"SCHEDULED": 1, "WAITING": 0, "RUNNING": 1, "SUCCEEDED": 1, "FAILED": 1, "CANCELLED": 0},
        "running": 1,
        "overdue": 1,
        "oldest": time_text(late.create_time),
    }


async def test_stats_of_nothing() -> None:
    """Nothing is the oldest."""
    async with browsing(House()) as http:
        stats = (await http.get("/v1/stats")).json()
    assert (stats["oldest"], stats["running"], sum(stats["byState"].values())) == (None, 0, 0)


async def test_runners_say_how_they_are() -> None:
    """Good, silent, stopping, ended; since when, and with how many calls."""
    house = House()
    start = house.clock.now()
    async with browsing(house) as http:  # starts r-1
        await house.store.beat(Runner("r-2", start, start, calls=3))
        await house.clock.advance(31)
        await house.store.beat(Runner("r-3", start, start, calls=1, drained=True))
        await house.store.beat(Runner("r-4", start, start, drained=True, gone=True))
        await house.clock.advance(1.5)
        runners = {each.pop("name"): each for each in (await http.get("/v1/runners")).json()["runners"]}
    began = time_text(start)
    assert runners["r-2"] == {"startTime": began, "leaseAge": "32.5s", "calls": 3, "good": False, "drained": False, "gone": False}
    assert runners["r-3"] == {"startTime": began, "leaseAge": "1.5s", "calls": 1, "good": True, "drained": True, "gone": False}
    assert (runners["r-4"]["good"], runners["r-4"]["gone"]) == (False, True)
