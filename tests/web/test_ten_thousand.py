"""Ten thousand tasks are no burden to whoever looks."""

import time
from pathlib import Path

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


async def test_ten_thousand_tasks_are_listed_at_once(tmp_path: Path) -> None:
    """Overview, lists and what their filters pick are there within 300 ms, with SQLite and a socket in between."""
    best: dict[str, float] = {}
    async with furnished(tmp_path, 10_000) as http:
        for path in PAGES:
            looks = []
            for _ in range(5):
                start = time.perf_counter()
                answer = await http.get(path)
                looks.append(time.perf_counter() - start)
                assert answer.status_code == 200
            best[path] = min(looks)
            assert ("job-" in answer.text) is ("nobody" not in path)
        stats = (await http.get("/v1/stats")).json()
    assert sum(stats["byState"].values()) == 10_000
    assert {path: took for path, took in best.items() if took >= LIMIT} == {}
