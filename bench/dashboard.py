"""How long the dashboard's pages take among many tasks on SQLite: asked over a socket.

    .venv/bin/python bench/dashboard.py [--tasks 10000] [--times 100] [--json FILE]

`first` is the first look at a page; counts, runners and the charts' records are then kept for 2 to 30 s, whoever looks. Client and server
share this process, so a figure is what a page costs the server, and the client's reading of it.
"""

import logging
import re
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import uvloop
from calling import quantile
from table import ROOT, Figure, Table, arguments, at_most, number

sys.path.insert(0, str(ROOT))  # the tasks lie with the tests

from longcall.telemetry import set_up_silence
from tests.web.crowd import furnished

LIMIT = 300  # milliseconds, which tests/web/test_ten_thousand.py holds as well
STYLE = "/static/style.css"
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


async def looks(http: httpx2.AsyncClient, path: str, times: int) -> Figure:
    """A first look, and so many more: their median."""
    first, text = await look(http, path)
    took = sorted([(await look(http, path))[0] for _ in range(times)])
    remark = f"p99 {number(quantile(took, 0.99))}, first {number(first)}, {len(text) / 1024:.0f} KiB"
    return Figure(quantile(took, 0.5), "ms", remark=remark)


async def main(table: Table, tasks: int, times: int) -> None:
    """Fill, look, show."""
    set_up_silence()
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as folder:
        async with furnished(Path(folder), tasks) as http:
            _, text = await look(http, "/tasks")
            later = re.search(r'href="(/tasks\?[^"]*pageToken=[^"]*)"', text)
            pages = PAGES | ({"list, its second page": later[1].replace("&amp;", "&")} if later else {})
            table.row("its style sheet", None, await looks(http, STYLE, times))
            for name, path in pages.items():
                table.row(name, await looks(http, path, times), None, at_most(LIMIT, "ms"))
    table.note(
        f"{tasks:,} tasks on SQLite, {times} looks at each page. The style sheet asks nothing of the store: it shows what the way there "
        "and back costs."
    )


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=100)
    chosen = parser.parse_args()
    how = (300, 5) if chosen.smallest else (chosen.tasks, chosen.times)
    result = Table("The dashboard's pages", uses=("uvicorn", "jinja2", "httpx2", "uvloop"))
    uvloop.run(main(result, *how))
    result.show(chosen)
