"""HTTP calls that take minutes to a day, never lost track of."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longcall.core.errors import (
        AlreadyExistsError,
        FailedPreconditionError,
        InvalidArgumentError,
        LongcallError,
        NotFoundError,
        PermissionDeniedError,
        UnauthenticatedError,
        UnavailableError,
    )
    from longcall.core.retry import RetryPolicy
    from longcall.core.task import Callback, OAuthToken, OidcToken
    from longcall.sdk import webhooks
    from longcall.sdk.async_client import AsyncLongcall
    from longcall.sdk.client import Longcall, Task
    from longcall.sdk.cloud_task import cloud_task
    from longcall.sdk.errors import (
        NoResponseError,
        NotAllSubmittedError,
        NotSubmitted,
        OutOfReachError,
        TaskCancelled,
        TaskFailed,
        WaitTimeout,
    )
    from longcall.sdk.options import NewTask
    from longcall.sdk.view import Requeued, Told

__version__ = "0.1.0"

__all__ = [
    "AlreadyExistsError",
    "AsyncLongcall",
    "Callback",
    "FailedPreconditionError",
    "InvalidArgumentError",
    "Longcall",
    "LongcallError",
    "NewTask",
    "NoResponseError",
    "NotAllSubmittedError",
    "NotFoundError",
    "NotSubmitted",
    "OAuthToken",
    "OidcToken",
    "OutOfReachError",
    "PermissionDeniedError",
    "Requeued",
    "RetryPolicy",
    "Task",
    "TaskCancelled",
    "TaskFailed",
    "Told",
    "UnauthenticatedError",
    "UnavailableError",
    "WaitTimeout",
    "cloud_task",
    "webhooks",
]

_HOMES = {
    "AlreadyExistsError": "core.errors",
    "AsyncLongcall": "sdk.async_client",
    "Callback": "core.task",
    "FailedPreconditionError": "core.errors",
    "InvalidArgumentError": "core.errors",
    "Longcall": "sdk.client",
    "LongcallError": "core.errors",
    "NewTask": "sdk.options",
    "NoResponseError": "sdk.errors",
    "NotAllSubmittedError": "sdk.errors",
    "NotFoundError": "core.errors",
    "NotSubmitted": "sdk.errors",
    "OAuthToken": "core.task",
    "OidcToken": "core.task",
    "OutOfReachError": "sdk.errors",
    "PermissionDeniedError": "core.errors",
    "Requeued": "sdk.view",
    "RetryPolicy": "core.retry",
    "Task": "sdk.client",
    "TaskCancelled": "sdk.errors",
    "TaskFailed": "sdk.errors",
    "Told": "sdk.view",
    "UnauthenticatedError": "core.errors",
    "UnavailableError": "core.errors",
    "WaitTimeout": "sdk.errors",
    "cloud_task": "sdk.cloud_task",
}
_MODULES = {"webhooks": "sdk.webhooks"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 — PEP 562: a module's attribute is anything
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 — `import longcall` costs nothing

    if name in _MODULES:
        return import_module(f"{__name__}.{_MODULES[name]}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
