"""What pydantic found wrong, as JSON pointers and sentences that say what would be right."""

import difflib
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from longcall.core.errors import FieldError, InvalidArgumentError, TooLargeError
from longcall.web import fields

_INSTEAD = {
    "retryConfig": "Longcall retries by its own policy, retry: maxAttempts, minBackoff, maxBackoff, multiplier, jitter, retryOn",
    "dispatchDeadline": "Longcall's own limit is attemptTimeout, up to 24 h",
    "appEngineHttpRequest": "Longcall calls what httpRequest says",
}


def mistakes(errors: list[ErrorDetails], model: type[BaseModel] | None = None) -> InvalidArgumentError | TooLargeError:
    """Turn pydantic's errors into ours: a JSON pointer and a sentence each."""
    for error in errors:
        if error["type"] == "too_large":
            return TooLargeError(f"{_pointer(error)}: {_sentence(error, model)}")
    return InvalidArgumentError(*(FieldError(_pointer(error), _sentence(error, model)) for error in errors))


def _pointer(error: ErrorDetails) -> str:
    steps = [str(step).replace("~", "~0").replace("/", "~1") for step in error["loc"] if step != "[key]"]
    return "".join(f"/{step}" for step in steps)


def _sentence(error: ErrorDetails, model: type[BaseModel] | None) -> str:
    match error["type"]:
        case "extra_forbidden":
            return _unknown(error, model)
        case "missing":
            return "this field is needed"
        case "string_type" | "int_type" | "float_type" | "bool_type" | "list_type" | "dict_type" | "model_type":
            return f"{_expected(error['type'])} is expected, not {fields.json_type(error['input'])}"
        case "literal_error":
            return f"it must be {error['ctx']['expected']}, not {error['input']!r}"
        case "greater_than_equal":
            return f"it must be at least {error['ctx']['ge']}, and is {error['input']}"
        case "less_than_equal":
            return f"it must be at most {error['ctx']['le']}, and is {error['input']}"
        case "finite_number":
            return "it must be a finite number"
        case _:
            return error["msg"]


def _expected(kind: str) -> str:
    return {
        "string_type": "text",
        "int_type": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "list_type": "a list",
    }.get(kind, "an object")


def _unknown(error: ErrorDetails, model: type[BaseModel] | None) -> str:
    *path, name = (str(step) for step in error["loc"])
    if name in _INSTEAD:
        return _INSTEAD[name]
    if not path and name in {"id", "scheduleTime"}:
        return "on a task put by hand this is Cloud Tasks' own: give the queue's task its name or schedule_time"
    known = sorted(_names(model, path))
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"there is no such field; did you mean {near[0]}?" if near else f"there is no such field; known are {', '.join(known)}"


def _names(model: type[BaseModel] | None, path: list[str]) -> set[str]:
    """The field names of the model that a path of field names leads to."""
    for step in path:
        info = next((info for info in (model.model_fields.values() if model else ()) if info.alias == step), None)
        model = next((part for part in _models(info.annotation)), None) if info else None
    return {info.alias or name for name, info in model.model_fields.items()} if model else set()


def _models(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401 — an annotation may be anything
    parts = getattr(annotation, "__args__", (annotation,))
    return [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
