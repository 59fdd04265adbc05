"""What a browser sends for an HTML form."""

from urllib.parse import parse_qs

from starlette.requests import Request

from longcall.core.errors import FieldError, InvalidArgumentError, UnsupportedTypeError
from longcall.web import body

_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 1000


def is_form(request: Request) -> bool:
    """Tell whether a request says that it carries one."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM


async def read(request: Request, most: int) -> dict[str, list[str]]:
    """Its fields; `most` in bytes. Raises UnsupportedTypeError for anything else, TooLargeError, SlowSenderError, InvalidArgumentError."""
    if not is_form(request):
        raise UnsupportedTypeError(f"a form is sent as {_FORM}")
    raw = await body.read(request, most=most)
    try:
        return parse_qs(raw.decode(errors="replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise InvalidArgumentError(FieldError("", f"a form has at most {_MOST_FIELDS} fields")) from None
