"""The one error with which the queue refuses a call, and the words Cloud Tasks uses.

Codes are those of google.rpc.Code: https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
"""

from dataclasses import dataclass
from enum import Enum

from longcall.core.errors import OurFault

QUEUE_MISSING = "Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize."
QUEUE_EXISTS = "Queue already exists"
QUEUE_TOO_RECENT = "The queue cannot be created because a queue with this name existed too recently."
QUEUE_NAME_FORMAT = 'Queue name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>".'
TASK_NAME_FORMAT = 'Task name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>/tasks/<TASK_ID>".'
PROJECT_NAME_FORMAT = 'Project name must be formatted: "projects/<PROJECT_ID>".'
LOCATION_NAME_FORMAT = 'Location name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>".'
ENTITY_MISSING = "Requested entity was not found."
ENTITY_EXISTS = "Requested entity already exists"
TASK_GONE = (
    "The task no longer exists, though a task with this name existed recently. The task either successfully completed or was deleted."
)


class Code(Enum):
    """A google.rpc.Code: its name, its number on the wire, and the HTTP status that goes with it."""

    OK = (0, 200)
    UNKNOWN = (2, 500)
    INVALID_ARGUMENT = (3, 400)
    DEADLINE_EXCEEDED = (4, 504)
    NOT_FOUND = (5, 404)
    ALREADY_EXISTS = (6, 409)
    PERMISSION_DENIED = (7, 403)
    RESOURCE_EXHAUSTED = (8, 429)
    FAILED_PRECONDITION = (9, 400)
    ABORTED = (10, 409)
    UNIMPLEMENTED = (12, 501)
    INTERNAL = (13, 500)
    UNAVAILABLE = (14, 503)
    UNAUTHENTICATED = (16, 401)

    def __init__(self, number: int, http_status: int) -> None:
        self.number = number
        self.http_status = http_status


@dataclass(frozen=True, slots=True)
class Help:
    """Where Google explains what would be right: the google.rpc.Help that the real service adds to some refusals."""

    description: str
    url: str


class RefusedError(Exception):
    """The queue does not do what was asked; ``code`` says of which kind the refusal is."""

    def __init__(self, code: Code, message: str, explained: Help | None = None) -> None:
        self.code = code
        self.explained = explained
        super().__init__(message)


class StorageError(OurFault):
    """The queue's file can't be used."""


class PortError(OurFault):
    """A port can't be listened on."""

    def __init__(self, port: int, reason: Exception) -> None:
        why = (reason.strerror or str(reason)) if isinstance(reason, OSError) else "something else listens there"  # gRPC does not say
        super().__init__(f"the queue can't listen on 127.0.0.1:{port}: {why}; give it another port, 0 for a free one")


def invalid(message: str, explained: Help | None = None) -> RefusedError:
    """Return a refusal of an argument, to be raised."""
    return RefusedError(Code.INVALID_ARGUMENT, message, explained)


def missing(message: str) -> RefusedError:
    """Return a refusal because something is not there, to be raised."""
    return RefusedError(Code.NOT_FOUND, message)


def exists(message: str) -> RefusedError:
    """Return a refusal because something is there already, to be raised."""
    return RefusedError(Code.ALREADY_EXISTS, message)


def unimplemented(what: str) -> RefusedError:
    """Return a refusal of what Cloud Tasks has and the embedded queue has not, to be raised."""
    return RefusedError(Code.UNIMPLEMENTED, f"The embedded queue does not implement {what}.")


def internal() -> RefusedError:
    """Return what a client is told of a mistake of ours, to be raised."""
    return RefusedError(Code.INTERNAL, "Internal error encountered.")
