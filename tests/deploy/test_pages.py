"""The arithmetic and the snippets of the pages about Google Cloud."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
from google.cloud import tasks_v2

from tests.deploy.project import ROOT

COSTS = (ROOT / "docs" / "costs.md").read_text()


def number(text: str) -> float:
    """A number as people write it."""
    return float(text.replace(",", ""))


def of_app_yaml(name: str, file: str = "app.yaml") -> int:
    """A number of an app.yaml."""
    found = re.search(rf'(?m)^  {name}: "?(\d+)"?$', (ROOT / "deploy" / file).read_text())
    assert found is not None
    return int(found[1])


def rows(table: str) -> list[list[str]]:
    """The cells of a table's rows, below its head."""
    head = COSTS.index(f"| {table}")
    block = COSTS[head:].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in block]


def test_the_room_of_the_page_is_that_of_app_yaml() -> None:
    """Calls at once by instances: seats less those kept for callbacks, and half of it for the queue."""
    seats = of_app_yaml("LONGCALL_MAX_CALLS")
    calls = seats - math.ceil(seats / 10)
    assert of_app_yaml("LONGCALL_HOLD_SLOTS") == seats
    *basic, manual = [(number(at_once), number(instances)) for at_once, instances, _ in rows("calls at once")]
    assert [at_once / instances for at_once, instances in basic] == [calls] * len(basic)
    assert {instances for _, instances in basic} >= {of_app_yaml("max_instances"), of_app_yaml("max_instances") / 2, 25}
    assert manual[0] == manual[1] * of_app_yaml("LONGCALL_MAX_CALLS", "app.manual.yaml")
    assert manual[1] == of_app_yaml("instances", "app.manual.yaml")


TIMES = "\N{MULTIPLICATION SIGN}"
SUMS = re.findall(rf"(\d[\d,.]*(?: h)? (?:[{TIMES}/+][^|=*]*?)) ?= ([\d,]+)", COSTS)


@pytest.mark.parametrize("said", SUMS, ids=lambda pair: str(pair[0])[:30])
def test_every_sum_is_right(said: tuple[str, str]) -> None:
    """What stands before an equals sign is what stands behind it, rounded up."""
    plain = re.sub(r"\([^)]*\)| h\b|,", "", said[0]).replace(TIMES, "*").strip()
    assert re.fullmatch(r"[\d.*/+ ]+", plain), plain
    assert math.ceil(eval(plain) - 1e-9) == number(said[1])  # noqa: S307 — digits and four signs, as just looked


def test_the_prices_are_multiplied_right() -> None:
    """How much times its price, and together."""
    costs = [number(row[3]) for row in rows("what | how much")[:-1]]
    amounts = [143.0, 514_800.0, 54_480.0, 19_160.0]
    prices = [0.10, 0.03 / 100_000, 0.09 / 100_000, 0.40 / 1_000_000]
    assert costs == [round(amount * price, 2) for amount, price in zip(amounts, prices, strict=True)]
    assert f"**{sum(costs):.2f}**" in COSTS


def test_the_migration_s_snippet_builds_both_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and now: both are tasks that Google's client takes, and the new one has the old call in it."""
    made: list[tasks_v2.Task] = []

    class Client(tasks_v2.CloudTasksClient):
        def __init__(self) -> None:
            """No channel, no login."""

        def create_task(self, parent: str, task: tasks_v2.Task) -> None:  # type: ignore[override] # the two that the page gives
            assert parent.startswith("projects/my-project/")
            made.append(task)

    page = (ROOT / "docs" / "how-to" / "from-cloud-tasks.md").read_text()
    (snippet,) = (each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "# before" in each)
    names: dict[str, Any] = {}
    monkeypatch.setattr(tasks_v2, "CloudTasksClient", Client)
    exec(compile(snippet, str(Path("from-cloud-tasks.md")), "exec"), names)  # noqa: S102 — our own page
    before, now = made
    assert before.http_request.url == "https://train-abc-uc.a.run.app/train"
    assert (now.app_engine_http_request.relative_uri, now.name.rpartition("/")[2]) == ("/dispatch", "train-2026-11-24")
    assert b'"https://train-abc-uc.a.run.app/train"' in now.app_engine_http_request.body
