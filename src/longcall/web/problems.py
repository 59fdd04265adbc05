"""Errors as RFC 9457 problem+json, with google.rpc's code names."""

from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from longcall.core.errors import (
    AlreadyExistsError,
    CallerMistake,
    FailedPreconditionError,
    InvalidArgumentError,
    LongcallError,
    MayExistError,
    NotFoundError,
    PermissionDeniedError,
    SlowSenderError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedTypeError,
)
from longcall.core.wire import dumps

RETRY_AFTER = "5"  # seconds
# What a status is answered with besides the problem: RFC 9110, 15.5.2 and 15.5.9.
MEDIA_TYPE = "application/problem+json"
_HEADERS = {
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": RETRY_AFTER},
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"},
    HTTPStatus.REQUEST_TIMEOUT: {"Connection": "close"},
}
_CODES = {
    HTTPStatus.NOT_FOUND: "NOT_FOUND",
    HTTPStatus.METHOD_NOT_ALLOWED: "INVALID_ARGUMENT",
}


def status_of(error: LongcallError) -> HTTPStatus:
    """The status an error is answered with."""
    match error:
        case TooLargeError():
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        case UnsupportedTypeError():
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        case SlowSenderError():
            return HTTPStatus.REQUEST_TIMEOUT
        case UnauthenticatedError():
            return HTTPStatus.UNAUTHORIZED
        case NotFoundError():
            return HTTPStatus.NOT_FOUND
        case PermissionDeniedError():
            return HTTPStatus.FORBIDDEN
        case AlreadyExistsError() | FailedPreconditionError():
            return HTTPStatus.CONFLICT
        case CallerMistake():
            return HTTPStatus.BAD_REQUEST
        case UnavailableError():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            return HTTPStatus.INTERNAL_SERVER_ERROR


def body(status: HTTPStatus, code: str, detail: str, instance: str, **more: object) -> bytes:
    """One problem's JSON. `type` is about:blank, so `title` is the status's own phrase."""
    about = {"type": "about:blank", "title": status.phrase, "status": status.value}
    return dumps(about | {"detail": detail, "instance": instance, "code": code} | more)


def problem(status: HTTPStatus, code: str, detail: str, instance: str, **more: object) -> Response:
    """One problem."""
    return Response(body(status, code, detail, instance, **more), status.value, _HEADERS.get(status), media_type=MEDIA_TYPE)


def too_often(instance: str, headers: Mapping[str, str]) -> Response:
    """429, with the headers of the rate that was exceeded."""
    detail = f"that was too often: try again in {headers['Retry-After']} s"
    answer = problem(HTTPStatus.TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED", detail, instance)
    answer.headers.update(headers)
    return answer


async def answer(request: Request, error: Exception) -> Response:
    """Answer with the problem an exception stands for. Of what was not foreseen nothing is told but that it was our fault."""
    where = request.url.path
    match error:
        case InvalidArgumentError():
            told = [{"pointer": each.pointer, "detail": each.message} for each in error.errors]
            return problem(HTTPStatus.BAD_REQUEST, error.code, str(error), where, errors=told)
        case AlreadyExistsError():
            told = [{"pointer": pointer, "detail": "differs"} for pointer in error.differing]
            return problem(HTTPStatus.CONFLICT, error.code, str(error), where, errors=told)
        case MayExistError():
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, error.code, str(error), where, id=error.task_id, mayExist=True)
        case LongcallError():
            return problem(status_of(error), error.code, str(error), where)
        case HTTPException():
            status = HTTPStatus(error.status_code)
            refused = problem(status, _CODES.get(status, "INVALID_ARGUMENT"), error.detail, where)
            refused.headers.update(error.headers or {})  # Allow, with a 405
            return refused
        case _:
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL", "something went wrong here; the log says what", where)
