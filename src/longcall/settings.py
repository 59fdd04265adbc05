"""The settings, read once from the environment into a frozen object. The only module that reads it."""

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from longcall.core.errors import CallerMistake
from longcall.core.wire import ALWAYS_REDACTED

PREFIX = "LONGCALL_"
LOG_FORMATS = ("console", "json")
CLIENT = frozenset({"URL", "TOKEN"})  # read by the SDK and the client commands, in the caller's own process

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set. `max_calls` 0 means a third of the limit on open files; sizes are in bytes."""

    max_calls: int = 0
    max_response_bytes: int = 32 * 1024 * 1024
    redact_headers: frozenset[str] = ALWAYS_REDACTED
    log_format: str = "console"


def read(environ: Mapping[str, str] = os.environ) -> Settings:  # noqa: TID251 — this is the module that reads it
    """Read LONGCALL_* variables. Raises CallerMistake naming the one that is wrong, and what was expected."""
    given = {name.removeprefix(PREFIX): value for name, value in environ.items() if name.startswith(PREFIX)}
    readers: dict[str, Callable[[str], object]] = {
        "MAX_CALLS": _whole_number,
        "MAX_RESPONSE_BYTES": _whole_number,
        "REDACT_HEADERS": _header_names,
        "LOG_FORMAT": _one_of(LOG_FORMATS),
    }
    for name in given.keys() - readers.keys() - CLIENT:
        raise CallerMistake(f"{PREFIX}{name} is no setting{_nearest(name, [*readers, *CLIENT])}")
    return Settings(**{name.lower(): _read(name, readers[name], given[name]) for name in readers if name in given})  # type: ignore[arg-type] # each reader gives its field's type


def _read(name: str, reader: Callable[[str], Value], text: str) -> Value:
    try:
        return reader(text)
    except ValueError as error:
        raise CallerMistake(f"{PREFIX}{name} is {text!r}: {error}") from None


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {PREFIX}{near[0]}?" if near else f": known are {', '.join(PREFIX + each for each in sorted(known))}"


def _whole_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError("a whole number of at least 1 was expected")
    return int(text)


def _header_names(text: str) -> frozenset[str]:
    return ALWAYS_REDACTED | {name.strip().lower() for name in text.split(",") if name.strip()}


def _one_of(known: tuple[str, ...]) -> Callable[[str], str]:
    def read_one(text: str) -> str:
        if text not in known:
            raise ValueError(f"{' or '.join(known)} was expected")
        return text

    return read_one
