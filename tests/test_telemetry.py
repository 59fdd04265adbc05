"""Logs as they are written: run in a process of their own, read line by line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "longcall"
EVENT = re.compile(r"[a-z_]+(\.[a-z_]+)+")

PROGRAM = """
import logging, sys
from datetime import timedelta
from longcall.telemetry import set_up_logs
set_up_logs(sys.argv[1], project="my-project")
from longcall.engine import observe
from tests.making import running, scheduled, responded, broken, spec, NOON
from longcall.core import lifecycle
observe.task_created(scheduled(), NOON)
task = running()
observe.attempt_started(task)
observe.attempt_held(task, timedelta(minutes=5), 7)
settled = lifecycle.settle(task, responded(200), NOON, 0.5)
observe.attempt_settled(settled, responded(200))
observe.log.info("odd.thing", task="x", thing=object(), text="two\\nlines Zürich", number=float("nan"), key={1: object()})
logging.getLogger("uvicorn.error").warning("a library %s", "says")
logging.getLogger("somebody").error("wrong %d", "places")
logging.getLogger("longcall.queue.dispatcher").info("dispatch.failed", extra={"task_name": "t", "reason": "no"})
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("uvicorn.error").exception("it broke")
"""


def lines(log_format: str) -> list[str]:
    """What the program wrote, on either stream."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, log_format], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent
    )
    return (done.stdout or done.stderr).splitlines()


def test_lines_for_google_have_its_special_fields() -> None:
    """Severity, time, message, trace, and an operation that joins the lines of a task, first and last marked."""
    found = [json.loads(line) for line in lines("google")]
    assert all({"severity", "time", "message", "event"} <= line.keys() for line in found)
    assert {line["severity"] for line in found} == {"INFO", "WARNING", "ERROR"}
    about = [line for line in found if line.get("task") == "train"]
    operations = [line["logging.googleapis.com/operation"] for line in about]
    assert [each["id"] for each in operations] == ["train"] * 5
    assert [(each["first"], each["last"]) for each in operations] == [(True, False), *[(False, False)] * 3, (False, True)]
    assert {line["logging.googleapis.com/trace"] for line in about} == {f"projects/my-project/traces/{'ab' * 16}"}
    assert about[3]["message"].startswith("attempt.settled task=train attempt=1 outcome=response status=200")


@pytest.mark.parametrize("log_format", ["google", "json"])
def test_a_line_never_fails(log_format: str) -> None:
    """Objects, wrong places, line breaks and exceptions: each is one line of JSON."""
    found = {line["event"]: line for line in map(json.loads, lines(log_format))}
    assert found["odd.thing"]["text"] == "two\nlines Zürich"
    assert found["odd.thing"]["thing"].startswith("<object")
    assert "wrong %d" in found
    assert found["a library says"]["logger"] == "uvicorn.error"
    assert found["dispatch.failed"]["reason"] == "no"
    assert "ZeroDivisionError" in found["it broke"]["exception"]


def test_lines_for_people_are_plain_text_without_a_terminal() -> None:
    """Names and fields, aligned, and no escape codes in a file."""
    found = lines("console")
    assert any("attempt.settled" in line and "outcome=response" in line for line in found)
    assert "\x1b" not in "".join(found)


def test_code_and_list_agree() -> None:
    """Every event of the engine is in docs/logs.md with its level, and nothing else is."""
    code = (SOURCE / "engine" / "observe.py").read_text()
    written = {name: level for level, name in re.findall(r'\blog\.(\w+)\(\s*"([a-z_.]+)"', code)}
    page = (SOURCE.parent.parent / "docs" / "logs.md").read_text()
    listed = dict(re.findall(r"^\| `([a-z_.]+)` \| (\w+) \|", page, re.MULTILINE))
    assert listed == written
    assert all(EVENT.fullmatch(name) for name in written)
