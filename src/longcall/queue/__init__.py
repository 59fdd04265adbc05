"""An in-process Cloud Tasks server: the API over gRPC and REST, a durable SQLite storage, dispatches over HTTP."""

from longcall.queue.errors import PortError, RefusedError, StorageError
from longcall.queue.model import QueueConfig, RateLimits, RetryConfig
from longcall.queue.server import EmbeddedQueue, QueueOptions

__all__ = [
    "EmbeddedQueue",
    "PortError",
    "QueueConfig",
    "QueueOptions",
    "RateLimits",
    "RefusedError",
    "RetryConfig",
    "StorageError",
]
