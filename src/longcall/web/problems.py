"""Errors as RFC 9457 problem+json, with google.rpc's code names."""

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
    TooLargeError,
    UnavailableError,
    UnsupportedTypeError,
)
from longcall.core.wire import dumps

RETRY_AFTER = "5"  # seconds
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


def problem(status: HTTPStatus, code: str, detail: str, instance: str, **more: object) -> Response:
    """One problem. `type` is about:blank, so `title` is the status's own phrase."""
    body = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "instance": instance,
        "code": code,
        **more,
    }
    headers = {"Retry-After": RETRY_AFTER} if status is HTTPStatus.SERVICE_UNAVAILABLE else None
    return Response(dumps(body), status.value, headers, media_type="application/problem+json")


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
            return problem(status, _CODES.get(status, "INVALID_ARGUMENT"), error.detail, where)
        case _:
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL", "something went wrong here; the log says what", where)
