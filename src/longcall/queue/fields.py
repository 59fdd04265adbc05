"""Partial answers: the parameter ``fields`` of Google's REST APIs.

https://cloud.google.com/storage/docs/json_api#partial-response
"""

import re
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor

from longcall.queue.errors import invalid

Tree: TypeAlias = dict[str, "Tree"]
"""What is wanted: names and what is wanted below them, nothing meaning everything."""

_TOKEN = re.compile(r"\w+|[*,/.()]")


def selected(answer: Any, fields: str, descriptor: Descriptor) -> Any:  # noqa: ANN401 — JSON
    """Return what ``fields`` names of an answer, everything if it names nothing. Refuses what is no field of ``descriptor``."""
    wanted = _tree(fields)
    _check(wanted, descriptor, fields)
    return _cut(answer, wanted)


def _tree(fields: str) -> Tree:
    root: Tree = {}
    at, lists = root, [root]
    for token in _TOKEN.findall(fields):
        match token:
            case ",":
                at = lists[-1]
            case "(":
                lists.append(at)
            case ")" if len(lists) > 1:
                lists.pop()
            case "/" | ".":
                pass  # the next name stands below the last
            case ")":
                raise _unknown(fields)
            case name:
                at = at.setdefault(name, {})
    if len(lists) > 1:
        raise _unknown(fields)
    return root


def _check(wanted: Tree, descriptor: Descriptor, fields: str) -> None:
    known = descriptor.fields_by_camelcase_name
    for name, below in wanted.items():
        if name != "*" and name not in known:
            raise _unknown(fields)
        if not below or name == "*":
            continue
        inner = known[name].message_type
        if inner is None:
            raise _unknown(fields)
        if not inner.GetOptions().map_entry:
            _check(below, inner, fields)


def _cut(value: Any, wanted: Tree) -> Any:  # noqa: ANN401 — JSON
    if not wanted or "*" in wanted:
        return value
    if isinstance(value, list):
        return [_cut(each, wanted) for each in value]
    return {name: _cut(each, wanted[name]) for name, each in value.items() if name in wanted}


def _unknown(fields: str) -> Exception:
    return invalid(f"Invalid field selection {fields}")
