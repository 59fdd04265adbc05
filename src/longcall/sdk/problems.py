"""What an answer of the API says: its JSON, or the error that it stands for. No I/O."""

from longcall.core.errors import (
    AlreadyExistsError,
    CallerMistake,
    FailedPreconditionError,
    FieldError,
    InvalidArgumentError,
    LongcallError,
    MayExistError,
    NotFoundError,
    OurFault,
    PermissionDeniedError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedTypeError,
)
from longcall.core.wire import Json, loads
from longcall.sdk.errors import NotLongcallError, ResourceExhaustedError
from longcall.sdk.messages import Answer

OK, CREATED, UNAUTHORIZED, FORBIDDEN, SERVER_ERRORS = 200, 201, 401, 403, 500
NOT_NOW = frozenset({429, 502, 503, 504})
AWAY = frozenset({500, 502, 503, 504})  # where they come without a code of ours: from a server that stops, or from what lies before it


def read_json(answer: Answer, base_url: str, task_id: str = "") -> Json:
    """A good answer's JSON. Raises the error that a problem stands for, NotLongcallError when this is not the API."""
    if answer.status not in {OK, CREATED}:
        raise problem(answer, base_url, task_id)
    data = _json(answer)
    if not data:
        raise _stranger(answer, base_url)
    return data


def problem(answer: Answer, base_url: str, task_id: str = "") -> LongcallError:
    """The error that an answer stands for: RFC 9457 problem+json by its `code`, anything else by its status."""
    told = _json(answer)
    detail = str(told.get("detail") or f"it answered {answer.status}")
    match told.get("code"):
        case _ if answer.status == UNAUTHORIZED:
            return UnauthenticatedError(f"{base_url} wants a token, or another one: {detail}")
        case _ if answer.status == FORBIDDEN:
            return PermissionDeniedError(f"{base_url} does not allow this: {detail}")
        case _ if told.get("mayExist") and task_id:
            return MayExistError(task_id)
        case str(code):
            return _coded(code, answer.status, detail, told, task_id)
        case _ if answer.status in AWAY:
            return UnavailableError(f"{base_url} is not available just now: {detail}")
        case _:
            return _stranger(answer, base_url)


def passes(answer: Answer) -> bool:
    """Tell whether this is the kind of answer that trying again may change."""
    return answer.status in NOT_NOW or (answer.status in AWAY and "code" not in _json(answer))


def retry_after(answer: Answer) -> float:
    """The seconds a server asks to be left alone for; 0 without a word (the form with a date is not one of ours)."""
    text = answer.headers.get("retry-after", "")
    return float(text[:6]) if text.isascii() and text.isdigit() else 0.0


def _coded(code: str, status: int, detail: str, told: Json, task_id: str) -> LongcallError:
    match code:
        case "INVALID_ARGUMENT":
            return _mistake(status, detail, told)
        case "NOT_FOUND":
            return NotFoundError(detail)
        case "ALREADY_EXISTS":
            return AlreadyExistsError(task_id, tuple(each.pointer for each in _field_errors(told)))
        case "FAILED_PRECONDITION":
            return FailedPreconditionError(detail)
        case "RESOURCE_EXHAUSTED":
            return ResourceExhaustedError(detail)
        case "UNAVAILABLE":
            return UnavailableError(detail)
        case _:
            return CallerMistake(detail) if status < SERVER_ERRORS else OurFault(detail)


def _mistake(status: int, detail: str, told: Json) -> CallerMistake:
    match status:
        case 413:
            return TooLargeError(detail)
        case 415:
            return UnsupportedTypeError(detail)
        case _:
            return InvalidArgumentError(*_field_errors(told) or [FieldError("", detail)])


def _field_errors(told: Json) -> list[FieldError]:
    given = told.get("errors")
    told_of = given if isinstance(given, list) else []
    return [FieldError(str(each.get("pointer", "")), str(each.get("detail", ""))) for each in told_of if isinstance(each, dict)]


def _json(answer: Answer) -> Json:
    try:
        data = loads(answer.body) if "json" in answer.headers.get("content-type", "") else {}
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _stranger(answer: Answer, base_url: str) -> NotLongcallError:
    kind = answer.headers.get("content-type", "").partition(";")[0] or "nothing to read"
    onward = f", sending on to {answer.headers['location'].partition('?')[0]}" if "location" in answer.headers else ""
    return NotLongcallError(f"what answers at {base_url} is not Longcall's API: it answered {answer.status} with {kind}{onward}")
