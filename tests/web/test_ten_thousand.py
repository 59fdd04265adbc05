"""Ten thousand tasks are no burden to whoever looks."""

import time
from pathlib import Path

import httpx2

from tests.web.crowd import furnished

LIMIT = 0.3  # seconds: what the design promises; the best of five looks is far below, whatever else the machine does
PAGES = (
    "/",
    "/tasks",
    "/tasks?kind=call",
    "/tasks?state=FAILED",
    "/tasks?state=RUNNING&label=team:ml",
    "/tasks?label=team:nobody",
    "/tasks?host=render.example.com",
    "/tasks?reason=unreachable",
    "/tasks:retry?state=FAILED",
)


async def best_of_five(http: httpx2.AsyncClient, path: str) -> float:
    """Seconds; the page is a page, and has tasks unless nobody's are asked for."""
    looks = []
    for _ in range(5):
        start = time.perf_counter()
        answer = await http.get(path)
        looks.append(time.perf_counter() - start)
        assert answer.status_code == 200
        assert ("job-" in answer.text) is ("nobody" not in path)
    return min(looks)


async def test_ten_thousand_tasks_are_listed_at_once(tmp_path: Path) -> None:
    """Overview, lists and what their filters pick are there within 300 ms, with SQLite and a socket in between."""
    async with furnished(tmp_path, 10_000) as http:
        best = {path: await best_of_five(http, path) for path in PAGES}
        stats = (await http.get("/v1/stats")).json()
    assert sum(stats["byState"].values()) == 10_000
    assert {path: took for path, took in best.items() if took >= LIMIT} == {}
