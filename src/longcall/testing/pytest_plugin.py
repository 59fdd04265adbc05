"""A Cloud Tasks server for the tests of any project: the fixture `longcall_queue`. docs/queue.md says how to use it.

pytest imports this module at every start wherever Longcall is installed, so the server's parts load only when a test asks for them.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from longcall.testing.queue import LongcallQueue

MISSING = "longcall_queue needs the queue's parts: pip install 'longcall[queue]'"


@pytest.fixture(scope="session")
def longcall_queue_key() -> str:
    """Give the key that signs tokens; made once, since that takes longer than starting a server."""
    try:
        from longcall.queue.oidc import new_key  # noqa: PLC0415 — see above
    except ModuleNotFoundError as error:
        raise pytest.UsageError(f"{MISSING} ({error.name} is missing)") from error
    return new_key()


@pytest.fixture
def longcall_queue_app_engine() -> str | None:
    """Say where App Engine tasks go: override it with your app's base URL. By default they go to `longcall_queue.target`."""
    return None


@pytest.fixture
def longcall_queue(longcall_queue_key: str, longcall_queue_app_engine: str | None) -> Iterator["LongcallQueue"]:
    """Give a Cloud Tasks server of this test's own: in memory, on free ports, with Google's client, `drain()` and `deliveries`."""
    from longcall.testing.queue import serving  # noqa: PLC0415 — see above

    with serving(longcall_queue_key, longcall_queue_app_engine) as queue:
        yield queue
