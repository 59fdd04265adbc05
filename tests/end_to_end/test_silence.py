import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.program import up
from tests.end_to_end.test_up import ask
from tests.target import Line, Serve, Target

HELD_FOR = 330.0  # seconds: past every client library's hidden default, of which 300 s is the longest


@pytest.mark.slow
@pytest.mark.timeout(HELD_FOR + 60)
async def test_a_silent_call_is_held_past_every_hidden_default(serve: Callable[[Serve], Awaitable[Target]], tmp_path: Path) -> None:
    """A target that says nothing for 330 s gives its answer at last, in one attempt."""

    async def silent(line: Line) -> None:
        await line.request()
        await asyncio.sleep(HELD_FOR)
        await line.answer(200, b"at last")

    target = await serve(silent)
    async with up(tmp_path / "data") as running:
        await ask("POST", f"{running.api}/v1/tasks", {"id": "silent", "httpRequest": {"url": target.url}})
        task: dict[str, Any] = {"state": "RUNNING"}
        while task["state"] == "RUNNING":
            task = await ask("GET", f"{running.api}/v1/tasks/silent?wait=60s")
    assert (task["state"], task["response"]["text"], task["attemptCount"]) == ("SUCCEEDED", "at last", 1)
    assert len(target.seen) == 1
