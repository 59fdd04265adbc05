"""Every event of the log, from the module that writes them: what a function says of itself is what its event says."""

import ast
import inspect
from collections.abc import Iterator

from longcall.engine import observe
from made_from.markdown import table

EVERYWHERE = {"task", "trace", "span"}  # said once, above the table
# A function with two events says what both have in common; so each has words of its own.
SAID = {
    "callback.delivered": "the caller was told",
    "callback.failed": "the caller could not be told; `longcall retry` of the callback's id tries again",
}


def events() -> str:
    """A row for each event, in the order of the module."""
    functions = [each for each in ast.parse(inspect.getsource(observe)).body if isinstance(each, ast.FunctionDef)]
    return table(("event", "level", "says", "fields"), [row for each in functions for row in _rows(each)])


def _rows(function: ast.FunctionDef) -> Iterator[tuple[str, str, str, str]]:
    said = (ast.get_docstring(function) or "").rstrip(".")
    for call in ast.walk(function):
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[ast.Constant(value=str(name))]):
                fields = [each.arg for each in call.keywords if each.arg and each.arg not in EVERYWHERE]
                yield f"`{name}`", level, SAID.get(name, said[0].lower() + said[1:]), ", ".join(fields)
