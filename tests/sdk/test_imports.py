import json
import subprocess
import sys

import longcall

SHOW = "import sys, json; {}; print(json.dumps([each for each in {!r} if each in sys.modules]))"
HEAVY = ["httpx2", "longcall.core.task", "pydantic", "starlette", "aiohttp", "google.cloud.tasks_v2", "grpc", "rich", "typer"]


def loaded_by(statement: str) -> list[str]:
    """Which of the heavy modules a statement loads, in a Python of its own."""
    shown = subprocess.run([sys.executable, "-c", SHOW.format(statement, HEAVY)], check=True, capture_output=True, text=True)
    return [str(each) for each in json.loads(shown.stdout)]


def test_importing_longcall_costs_nothing() -> None:
    """Nothing is loaded before it is asked for."""
    assert loaded_by("import longcall") == []


def test_the_sdk_needs_httpx2_and_nothing_else() -> None:
    """Neither the server's parts nor Google's client, not even for cloud_task itself."""
    names = "from longcall import Longcall, AsyncLongcall, Callback, RetryPolicy, TaskFailed, WaitTimeout, cloud_task, webhooks"
    assert loaded_by(names) == ["httpx2", "longcall.core.task"]


def test_a_receiver_of_callbacks_reaches_webhooks_either_way() -> None:
    """`from longcall import webhooks` and `longcall.webhooks` are one module, loaded when it is asked for."""
    assert loaded_by("import longcall; longcall.webhooks.verify; from longcall import webhooks; webhooks.verify") == [
        "httpx2",
        "longcall.core.task",
    ]


def test_every_name_that_is_promised_is_there() -> None:
    """`__all__` and `dir` tell the truth."""
    assert all(getattr(longcall, name) is not None for name in longcall.__all__)
    assert set(longcall.__all__) <= set(dir(longcall))
    assert not hasattr(longcall, "Longcal")
