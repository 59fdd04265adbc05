"""What people type into options, read into values. Every mistake is an InvalidArgumentError that names the option."""

import difflib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from longcall.core.errors import FieldError, InvalidArgumentError
from longcall.core.retry import RETRYABLE_BREAKS, Jitter, RetryPolicy, is_retryable
from longcall.core.task import State
from longcall.core.text import human_duration
from longcall.core.wire import loads
from longcall.sdk.messages import Filters

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Data:
    """The body of a call. `is_json` is what it turned out to be; `looks_like` says why it is none where it looks like it."""

    body: bytes
    is_json: bool = False
    looks_like: str = ""


def parse_retry(text: str) -> RetryPolicy:
    """Read `max=5,min=1s,max-backoff=10m,multiplier=2,jitter=full,on=503+5xx`; what is not said keeps its default."""
    with_names: dict[str, tuple[str, Callable[[str], Any]]] = {
        "max": ("max_attempts", _count),
        "min": ("min_backoff", human_duration),
        "min-backoff": ("min_backoff", human_duration),
        "max-backoff": ("max_backoff", human_duration),
        "multiplier": ("multiplier", _factor),
        "jitter": ("jitter", _jitter),
        "on": ("retry_on", _retry_on),
    }
    policy = RetryPolicy()
    for part in text.split(","):
        name, equals, value = (each.strip() for each in part.partition("="))
        if not equals or name not in with_names:
            raise wrong("--retry", _unknown(part.strip(), name, with_names))
        field, read = with_names[name]
        policy = replace(policy, **{field: _tried("--retry", name, read, value)})
    return policy


def parse_headers(given: Iterable[str]) -> dict[str, str]:
    """Read `Name: value`, each name once."""
    headers: dict[str, str] = {}
    for text in given:
        name, colon, value = (each.strip() for each in text.partition(":"))
        if not colon or not name:
            raise wrong("-H", f"{text!r} is no header: write it like 'Accept: text/plain'")
        if name.lower() in {each.lower() for each in headers}:
            raise wrong("-H", f"{name} is given twice")
        headers[name] = value
    return headers


def parse_labels(given: Iterable[str]) -> dict[str, str]:
    """Read `name=value`, each name once."""
    labels: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise wrong("--label", f"{text!r} is no label: write it like team=ml")
        if name in labels:
            raise wrong("--label", f"{name} is given twice")
        labels[name] = value
    return labels


def parse_filter(text: str) -> str:
    """Read `name=value`, or `name:value` as the API has it, for a list."""
    name, separator, value = text.partition("=") if "=" in text and ":" not in text.partition("=")[0] else text.partition(":")
    if not separator or not name:
        raise wrong("--label", f"{text!r} is no label: write it like team=ml")
    return f"{name}:{value}"


def parse_state(text: str) -> str:
    """Read a state in any case."""
    name = text.strip().upper()
    if name not in State.__members__:
        known = [each.lower() for each in State.__members__]
        near = difflib.get_close_matches(text.lower(), known, n=1)
        raise wrong("--state", f"there is no {text!r}; " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"))
    return name


def parse_filters(states: Iterable[str] | None, label: str | None, host: str | None, reason: str | None, since: str | None) -> Filters:
    """Read what picks tasks."""
    return {
        "state": [parse_state(each) for each in states or ()],
        "label": parse_filter(label) if label else None,
        "host": host,
        "reason": reason,
        "created_after": since,
    }


def read_data(text: str) -> Data:
    """Read `-d`: the text itself, `@file`, or `-` (also `@-`) for standard input."""
    body = _raw(text)
    try:
        loads(body)
    except ValueError as error:
        return Data(body, looks_like=str(error) if body.lstrip()[:1] in {b"{", b"["} else "")
    return Data(body, is_json=True)


def wrong(option: str, message: str) -> InvalidArgumentError:
    """A mistake in an option."""
    return InvalidArgumentError(FieldError(option, message))


def _raw(text: str) -> bytes:
    if text in {"-", "@-"}:
        return sys.stdin.buffer.read()
    if not text.startswith("@"):
        return text.encode()
    try:
        return Path(text[1:]).read_bytes()
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise wrong("-d", f"{text[1:]} can't be read: {said}") from None


def _tried(option: str, name: str, read: Callable[[str], Value], text: str) -> Value:
    try:
        return read(text)
    except (ValueError, OverflowError) as error:
        raise wrong(option, f"{name}: {error}") from None


def _unknown(part: str, name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    if name in known:
        return f"{part!r} has no value: write it like {name}=…"
    return f"there is no {name!r}; " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}, like max=5,jitter=full")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:10]) <= 10_000):  # noqa: PLR2004 — as the API has it
        raise ValueError(f"it must be a whole number from 1 to 10000, not {text!r}")
    return int(text)


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 1 <= factor <= 1000:  # noqa: PLR2004 — as the API has it
        raise ValueError(f"it must be a number from 1 to 1000, not {text!r}")
    return factor


def _jitter(text: str) -> Jitter:
    if text not in {each.value for each in Jitter}:
        raise ValueError(f"it must be none, equal or full, not {text!r}")
    return Jitter(text)


def _retry_on(text: str) -> tuple[str, ...]:
    items = tuple(item.strip() for item in text.split("+"))
    for item in items:
        if not is_retryable(item):
            names = ", ".join(each.value for each in RETRYABLE_BREAKS)
            raise ValueError(f"{item!r} is none of {names}, a status like 503 or a class like 5xx; several are joined by +")
    return items
