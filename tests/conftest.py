"""What every test has at hand."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from longcall.telemetry import set_up_silence
from tests.postgres import postgres  # noqa: F401 — a fixture
from tests.target import Serve, Target

IN_CI = os.environ.get("CI") == "true"  # noqa: TID251 — tests must know where they run
# A laptop that is busy is no failure: no example passes or fails by a time.
settings.register_profile("longcall", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=200 if IN_CI else 100)
settings.load_profile("longcall")
set_up_silence()
pytest.register_assert_rewrite("longcall.testing.contract")  # before any test takes something out of it


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on what production runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Serve], Awaitable[Target]]]:
    """Start a target that does with each connection what it is told; it ends with the test."""
    targets: list[Target] = []

    async def start(handler: Serve) -> Target:
        target = Target(handler)
        await target.start()
        targets.append(target)
        return target

    yield start
    for target in targets:
        await target.stop()
