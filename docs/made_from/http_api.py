"""The HTTP API from its OpenAPI schema, the one that `/openapi.json` answers with."""

from types import SimpleNamespace
from typing import Any

from longcall.core.text import duration_text
from longcall.web import api
from longcall.web.schema import TaskIn
from made_from.markdown import table

Json = dict[str, Any]
EVERYWHERE = {"400", "401", "403", "431", "503"}  # said once, above the operations
NEVER = {"422"}  # FastAPI's own, which our handler answers as 400
PLAIN = {"Successful Response": "done"}  # FastAPI's own words
BODIES = ("TaskIn", "HttpRequestIn", "OidcTokenIn", "OAuthTokenIn", "RetryIn", "CallbackIn", "PubsubIn", "CallbackRetryIn", "RequeueIn")


def operations() -> str:
    """A chapter for each operation: what it does, what it takes, what it answers."""
    return "\n\n".join(
        _operation(f"{verb.upper()} {path.replace('{task_id}', '{id}')}", each)
        for path, verbs in sorted(_schema()["paths"].items(), key=lambda each: (not each[0].startswith("/v1/tasks"), each[0]))
        for verb, each in verbs.items()
    )


def bodies() -> str:
    """A chapter for each object that a request's body is made of."""
    asked = {model.__name__: model.model_json_schema(ref_template="#/{model}") for model in (TaskIn, api.RequeueIn)}
    known = _schema()["components"]["schemas"] | asked
    return "\n\n".join(_body(name, known[name]) for name in BODIES)


def _schema() -> Json:
    parts = SimpleNamespace(view=None, row=None)  # nothing is called: only what the operations say of themselves is read
    return api.make(api.Parts(*[parts] * 7)).openapi()


def _operation(title: str, operation: Json) -> str:
    parts = [f"### `{title}`", operation["description"]]
    asked = [each for each in operation.get("parameters", []) if each["in"] == "query"]
    if asked:
        rows = [(f"`{each['name']}`", f"{_type(each['schema'])}{_description(each)}", _default(each["schema"])) for each in asked]
        parts.append(table(("parameter", "is", "default"), rows))
    if body := operation.get("requestBody"):
        schema = body["content"]["application/json"]["schema"]
        parts.append(f"Takes a [{schema['title']}](#{schema['title'].lower()}){'' if body['required'] else ', or nothing'}.")
    answers = {status: each["description"] for status, each in operation["responses"].items() if status not in EVERYWHERE | NEVER}
    said = [f"**{status}** {PLAIN.get(text, text[0].lower() + text[1:])}" for status, text in sorted(answers.items())]
    return "\n\n".join([*parts, f"Answers: {'; '.join(said)}."])


def _description(parameter: Json) -> str:
    inner = parameter["schema"].get("anyOf", [{}])[0]
    said = parameter.get("description") or inner.get("description")
    return f": {said}" if said else ""


def _body(name: str, schema: Json) -> str:
    needed = schema.get("required", [])
    rows = [(f"`{field}`", _type(each), "needed" if field in needed else _default(each)) for field, each in schema["properties"].items()]
    said = schema["description"]
    return "\n\n".join([f"### {name}", said, table(("field", "is", "default"), rows)])


def _type(schema: Json) -> str:  # noqa: C901, PLR0911 — a table written as match
    match schema:
        case {"anyOf": kinds}:
            return " or ".join(_type(each) for each in kinds if each != {"type": "null"})
        case {"$ref": name}:
            last = name.rpartition("/")[2]
            return f"[{last}](#{last.lower()})" if last in BODIES else ", ".join(f"`{each}`" for each in _known(last)["enum"])
        case {"enum": values}:
            return ", ".join(f"`{each}`" for each in values)
        case {"const": value}:
            return f"`{value}`"
        case {"type": "array", "items": items}:
            return f"several of {_type(items)}" if "$ref" in items or "enum" in items else f"list of {_type(items)}"
        case {"type": "object"}:
            return f"names and texts{_range(schema.get('maxProperties'), 'at most {} of them')}"
        case {"type": "integer" | "number" as kind, **rest}:
            return f"{kind}, {rest['minimum']} to {rest['maximum']}" if "maximum" in rest else kind
        case {"format": "date-time"}:
            return "time"
        case {"contentEncoding": "base64"}:
            return "bytes in base64"
        case {"pattern": pattern} if pattern.endswith("s$"):
            return "duration"
        case {"type": kind}:
            return f"{ {'string': 'text', 'boolean': '`true` or `false`'}[kind] }{_range(schema.get('maxLength'), '{} at most')}"
        case _:
            return "any JSON"


def _range(limit: int | None, said: str) -> str:
    return "" if limit is None else f", {said.format(limit)}"


def _known(name: str) -> Json:
    found: Json = _schema()["components"]["schemas"][name]
    return found


def _default(schema: Json) -> str:
    default = schema.get("default")
    if default in (None, ""):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else DURATIONS.get(str(default), default)}`"


# The schema has defaults in ISO 8601, the API reads and writes protobuf's JSON.
_LIMITS = (TaskIn.model_fields[name].default for name in ("attempt_timeout", "connect_timeout"))
DURATIONS = {"P1D": "86400s", "PT10S": "10s", "PT10M": "600s", "PT30S": "30s", "PT5S": "5s", "PT6H": "21600s"}
assert set(map(duration_text, _LIMITS)) <= set(DURATIONS.values())  # noqa: S101 — a page with a wrong number must not be made
