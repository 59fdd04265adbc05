"""Where a page ends: an opaque token that says after which task, newest first, the next one begins."""

import base64
from typing import NamedTuple

from longcall.core.errors import FieldError, InvalidArgumentError
from longcall.core.text import parse_time, time_text


class Place(NamedTuple):
    """A task's place in the order of lists; the next page has what is less."""

    create_time: str
    id: str


def token_of(place: Place) -> str:
    """Write a place as a page token."""
    return base64.urlsafe_b64encode(f"{place.create_time} {place.id}".encode()).decode().rstrip("=")


def place_of(token: str) -> Place | None:
    """Read a page token; an empty one is the beginning. Raises InvalidArgumentError for what was never given out."""
    if not token:
        return None
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        create_time, gap, task_id = base64.b64decode(padded, altchars=b"-_", validate=True).decode().partition(" ")
        if gap and task_id and time_text(parse_time(create_time)) == create_time:
            return Place(create_time, task_id)
    except (ValueError, OverflowError):
        pass  # said below, like every other way of being no token
    raise InvalidArgumentError(FieldError("/pageToken", "must be a nextPageToken as it was given out"))
