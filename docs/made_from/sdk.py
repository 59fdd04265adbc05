"""The SDK: every public name, with its signature and what it says of itself."""

import inspect
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from types import ModuleType, NoneType, UnionType
from typing import Any, Literal, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

import longcall
from longcall.sdk.messages import Filters, Watched
from longcall.sdk.options import TaskOptions
from longcall.sdk.view import Response, TaskView
from made_from.markdown import table

CLIENTS, FUNCTIONS, MODULES = ("Longcall", "AsyncLongcall"), ("cloud_task",), ("webhooks",)
LINE = 100  # a signature that is longer has a line for each argument
# What signatures speak of, and nobody imports.
SPOKEN_OF = {"TaskOptions": TaskOptions, "Filters": Filters, "Watched": Watched, "TaskView": TaskView, "Response": Response}


def sdk() -> str:
    """A chapter for each public name: clients first, then what they take and give, then what they raise."""
    names = [name for name in longcall.__all__ if name not in {*CLIENTS, *FUNCTIONS, *MODULES}]
    values = [name for name in names if not issubclass(getattr(longcall, name), Exception)]
    errors = [name for name in names if name not in values]
    chapters = [_class(name, getattr(longcall, name)) for name in (*CLIENTS, *values)]
    chapters += [_class(name, each) for name, each in SPOKEN_OF.items()]
    chapters += [_function("###", name, getattr(longcall, name)) for name in FUNCTIONS]
    chapters += [_module(name, getattr(longcall, name)) for name in MODULES]
    rows = [(f"`{name}`", ", ".join(_lineage(getattr(longcall, name))), _said(getattr(longcall, name))) for name in errors]
    return "\n\n".join([*chapters, "## Errors", table(("error", "is a", "says"), rows)])


def _class(name: str, kind: type) -> str:
    parts = [f"### {name}"]
    if is_typeddict(kind):
        rows = [(f"`{field}`", f"`{_type(hint)}`") for field, hint in get_type_hints(kind).items()]
        return "\n\n".join([*parts, _said(kind), table(("name", "type"), rows)])
    public = [(each, member) for each, member in _own(kind) if not each.startswith("_")]
    if base := next((each for each in SPOKEN_OF if each == kind.__base__.__name__), ""):
        parts += [f"{_said(kind)}\n\nIt has all that a [{base}](#{base.lower()}) has."]
    else:
        parts += [_said(kind), _values(kind) if is_dataclass(kind) else f"```py\n{name}{_signature(kind)}\n```"]
    asked = [(f"`{each}`", _said(member)) for each, member in public if not callable(_function_of(member))]
    parts += [table(("property", "is"), asked)] if asked else []
    parts += [_function("####", f"{name}.{each}", _function_of(member)) for each, member in public if callable(_function_of(member))]
    return "\n\n".join(parts)


def _own(kind: type) -> Iterator[tuple[str, Any]]:
    """Its methods and properties in the order of the source, not the fields of a dataclass."""
    known = {each.name for each in fields(kind)} if is_dataclass(kind) else set()
    yield from ((name, each) for name, each in vars(kind).items() if name not in known and _said(each) and _documented(each))


def _documented(member: object) -> bool:
    return inspect.isroutine(member) or isinstance(member, (property, classmethod, staticmethod)) or hasattr(member, "attrname")


def _function_of(member: Any) -> Any:  # noqa: ANN401 — a member of a class is anything
    return getattr(member, "__func__", member) if not isinstance(member, property) and not hasattr(member, "attrname") else None


def _function(depth: str, name: str, function: Any) -> str:  # noqa: ANN401 — a function, or what stands for one
    word = "await " if inspect.iscoroutinefunction(function) else ""
    bare = name.rpartition(".")[2]
    return f"{depth} {name}\n\n```py\n{word}{bare}{_signature(function)}\n```\n\n{_said(function)}"


def _module(name: str, module: ModuleType) -> str:
    told = [each for each in vars(module).values() if getattr(each, "__module__", "") == module.__name__]
    parts = [f"### {name}", _said(module)]
    for each in told:
        if inspect.isfunction(each) and not each.__name__.startswith("_"):
            parts.append(_function("####", f"{name}.{each.__name__}", each))
        elif inspect.isclass(each) and (is_dataclass(each) or issubclass(each, Exception)):
            parts += [f"#### {name}.{each.__name__}", _said(each), *([_values(each)] if is_dataclass(each) else [])]
    return "\n\n".join(parts)


def _lineage(error: type) -> list[str]:
    return [f"`{each.__name__}`" for each in error.__bases__]


def _said(thing: Any) -> str:  # noqa: ANN401 — whatever has a docstring
    paragraphs = (inspect.getdoc(thing) or "").split("\n\n")
    return "\n\n".join(" ".join(each.split()).replace("<", "&lt;") for each in paragraphs)


def _signature(function: Any) -> str:  # noqa: ANN401 — whatever can be called
    signature = inspect.signature(function)
    hints = _hints(function)
    shown, starred = [], False
    for name, each in signature.parameters.items():
        if name in {"self", "cls"}:
            continue
        if each.kind is each.KEYWORD_ONLY and not starred:
            shown, starred = [*shown, "*"], True
        stars = "**" if each.kind is each.VAR_KEYWORD else ""
        default = "" if each.default is each.empty else f" = {repr(each.default).removeprefix('datetime.')}"
        shown.append(f"{stars}{name}: {_type(hints.get(name, each.annotation))}{default}")
    result = "" if inspect.isclass(function) else f" -> {_type(hints.get('return', signature.return_annotation))}"
    line = f"({', '.join(shown)}){result}"
    return line if len(line) <= LINE else "(\n" + "".join(f"    {each},\n" for each in shown) + f"){result}"


def _hints(thing: Any) -> dict[str, Any]:  # noqa: ANN401 — as above
    try:
        return get_type_hints(thing.__init__ if inspect.isclass(thing) and not is_dataclass(thing) else thing)
    except NameError:  # a name that only type checkers import: the annotation is shown as it is written
        return {}


def _values(kind: type) -> str:
    """A dataclass's values, without what is its own business."""
    hints = _hints(kind)
    shown = [each for each in fields(kind) if each.compare or each.repr]
    return table(("value", "is"), [(f"`{each.name}`", f"`{_type(hints.get(each.name, each.type))}`") for each in shown])


def _type(hint: Any) -> str:  # noqa: ANN401 — a type is written in many ways
    """A type as one writes it, with last names, the same under every Python."""
    origin, inner = get_origin(hint), get_args(hint)
    match hint:
        case str():
            return hint
        case None | type() if hint in {None, NoneType}:
            return "None"
        case list():
            return f"[{', '.join(map(_type, hint))}]"
        case _ if hint is ...:
            return "..."
    if origin in {Union, UnionType}:
        return " | ".join(map(_type, inner))
    if origin is Literal:
        return " | ".join(f'"{each}"' for each in inner)
    if origin is Required:
        return _type(inner[0])
    kind = origin or hint
    name = getattr(kind, "__forward_arg__", None) or getattr(kind, "__name__", None) or getattr(kind, "_name", "Any")
    return f"{name}[{', '.join(map(_type, inner))}]" if inner else name
