"""Errors typed by whose fault they are. The class docstring is the default message.

Code names are those of google.rpc.Code: https://cloud.google.com/apis/design/errors
"""

from dataclasses import dataclass
from typing import ClassVar


class LongcallError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class CallerMistake(LongcallError):  # noqa: N818 — the name says whose fault it is
    """The request can't be served as it is; sending it again will not help."""

    code = "INVALID_ARGUMENT"


class OurFault(LongcallError):  # noqa: N818 — as above
    """Longcall, or something it stands on, failed; trying again may help."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field: where (a JSON pointer, RFC 6901) and what would be right."""

    pointer: str
    message: str


class InvalidArgumentError(CallerMistake):
    """Some fields are not as they should be."""

    def __init__(self, *errors: FieldError) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{error.pointer or 'body'}: {error.message}" for error in errors))


class TooLargeError(CallerMistake):
    """The body is larger than is taken."""


class UnsupportedTypeError(CallerMistake):
    """The body must be application/json."""


class SlowSenderError(CallerMistake):
    """The body came too slowly."""


class UnauthenticatedError(CallerMistake):
    """The server wants a token."""

    code = "UNAUTHENTICATED"


class NotFoundError(CallerMistake):
    """There is no such task."""

    code = "NOT_FOUND"


class PermissionDeniedError(CallerMistake):
    """This door opens only for the queue."""

    code = "PERMISSION_DENIED"


class FailedPreconditionError(CallerMistake):
    """The task is not in a state for that."""

    code = "FAILED_PRECONDITION"


class AlreadyExistsError(CallerMistake):
    """A task with this id exists and has other content."""

    code = "ALREADY_EXISTS"

    def __init__(self, task_id: str, differing: tuple[str, ...]) -> None:
        self.differing = differing
        super().__init__(f"task {task_id} exists and differs in {', '.join(differing)}")


class UnavailableError(OurFault):
    """The store or the queue is out of reach."""

    code = "UNAVAILABLE"


class UnclearError(UnavailableError):
    """A write was sent and its answer never came: it may have landed."""


class MayExistError(UnavailableError):
    """The task was queued, and whether its record was written is not known: ask for it, or send the same again."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        super().__init__(f"task {task_id} was queued, and whether its record was written is not known: ask for it, or send the same again")


class NewerSchemaError(OurFault):
    """This record was written by a newer release than this one can read."""
