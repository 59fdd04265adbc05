"""How long the dashboard's pages take among many tasks on SQLite: asked over a socket.

    .venv/bin/python bench/dashboard.py [--tasks N] [--times N]

`first` is the first look at a page; counts, runners and the charts' records are then kept for 2 to 30 s, whoever looks. Client and server
share this process, so a figure is what a page costs the server, and the client's reading of it.
"""

import argparse
import logging
import re
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tasks lie with the tests

from longcall.telemetry import set_up_silence
from tests.web.crowd import furnished

PAGES = {
    "overview": "/",
    "list": "/tasks",
    "list, calls only": "/tasks?kind=call",
    "state FAILED": "/tasks?state=FAILED",
    "state RUNNING, label": "/tasks?state=RUNNING&label=team:ml",
    "label of many": "/tasks?label=team:web",
    "label of none": "/tasks?label=team:nobody",
    "host of a third": "/tasks?host=render.example.com",
    "reason": "/tasks?reason=unreachable",
    "retry of all that failed": "/tasks:retry?state=FAILED",
    "one task": "/tasks/job-0003",
}


async def look(http: httpx2.AsyncClient, path: str) -> tuple[float, str]:
    """Milliseconds of one look, and the page."""
    start = time.perf_counter()
    answer = await http.get(path)
    took = (time.perf_counter() - start) * 1000
    answer.raise_for_status()
    return took, answer.text


async def main(tasks: int, times: int) -> None:
    """Fill, look, print the table."""
    set_up_silence()
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as folder:
        async with furnished(Path(folder), tasks) as http:
            _, text = await look(http, "/tasks")
            later = re.search(r'href="(/tasks\?[^"]*pageToken=[^"]*)"', text)
            pages = PAGES | ({"list, its second page": later[1].replace("&amp;", "&")} if later else {})
            print(f"{tasks} tasks on SQLite, {times} looks at each page; milliseconds\n")
            print(f"{'page':<28}{'first':>8}{'p50':>8}{'p99':>8}{'KiB':>8}")
            for name, path in pages.items():
                first, text = await look(http, path)
                took = sorted([(await look(http, path))[0] for _ in range(times)])
                print(f"{name:<28}{first:>8.1f}{took[times // 2]:>8.1f}{took[int(times * 0.99)]:>8.1f}{len(text) / 1024:>8.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=100)
    options = parser.parse_args()
    uvloop.run(main(options.tasks, options.times))
