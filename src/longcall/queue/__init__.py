"""An in-process Cloud Tasks server: the API over gRPC and REST, a durable SQLite storage, dispatches over HTTP."""

from longcall.queue.errors import RefusedError
from longcall.queue.model import QueueConfig, RateLimits, RetryConfig
from longcall.queue.schema import StorageError
from longcall.queue.server import EmbeddedQueue, QueueOptions

__all__ = ["EmbeddedQueue", "QueueConfig", "QueueOptions", "RateLimits", "RefusedError", "RetryConfig", "StorageError"]
