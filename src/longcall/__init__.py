"""HTTP calls that take minutes to a day, never lost track of."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longcall.core.errors import LongcallError
    from longcall.core.retry import RetryPolicy
    from longcall.core.task import OAuthToken, OidcToken
    from longcall.sdk.async_client import AsyncLongcall
    from longcall.sdk.client import Longcall, Task
    from longcall.sdk.cloud_task import cloud_task
    from longcall.sdk.errors import TaskCancelled, TaskFailed, WaitTimeout

__version__ = "0.1.0"

__all__ = [
    "AsyncLongcall",
    "Longcall",
    "LongcallError",
    "OAuthToken",
    "OidcToken",
    "RetryPolicy",
    "Task",
    "TaskCancelled",
    "TaskFailed",
    "WaitTimeout",
    "cloud_task",
]

_HOMES = {
    "AsyncLongcall": "sdk.async_client",
    "Longcall": "sdk.client",
    "LongcallError": "core.errors",
    "OAuthToken": "core.task",
    "OidcToken": "core.task",
    "RetryPolicy": "core.retry",
    "Task": "sdk.client",
    "TaskCancelled": "sdk.errors",
    "TaskFailed": "sdk.errors",
    "WaitTimeout": "sdk.errors",
    "cloud_task": "sdk.cloud_task",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 — PEP 562: a module's attribute is anything
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 — `import longcall` costs nothing

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
