"""Which tasks a page shows, as its URL says it: the names are those of `GET /v1/tasks`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlencode

from longcall.core.task import Kind, State
from longcall.core.text import parse_time, time_text
from longcall.engine.ports import Query

PAGE = 50
REASONS = ("status", "unreachable", "disconnected", "timed_out", "interrupted", "refused", "task_timeout", "invalid")
_TIMES = {"createdAfter": "created_after", "createdBefore": "created_before", "updatedAfter": "updated_after"}


@dataclass(frozen=True, slots=True)
class Filters:
    """What was asked for. `wrong`: sentences about what could not be read; then nothing may be shown or changed by the rest."""

    kind: Kind = Kind.CALL
    states: frozenset[State] = frozenset()
    label: tuple[str, str] | None = None
    reason: str = ""
    host: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None
    updated_after: datetime | None = None
    overdue: bool = False
    token: str = ""
    wrong: tuple[str, ...] = ()

    @property
    def narrow(self) -> bool:
        """Whether anything but the page was asked for."""
        return replace(self, token="") != Filters()

    def query(self, now: datetime, limit: int = PAGE) -> Query:
        """The engine's question."""
        return Query(
            kind=self.kind,
            states=self.states,
            label=self.label,
            reason=self.reason or None,
            host=self.host or None,
            created_after=self.created_after,
            created_before=self.created_before,
            updated_after=self.updated_after,
            overdue_at=now if self.overdue else None,
            limit=limit,
            token=self.token,
        )

    def url(self, path: str = "/tasks", **changes: object) -> str:
        """The URL of a page that shows the same but for what is changed; the first page unless `token` is given."""
        changed = replace(self, **({"token": ""} | changes))  # type: ignore[arg-type] # templates give fields of this class
        pairs = urlencode(list(changed.pairs()))
        return f"{path}?{pairs}" if pairs else path

    def pairs(self) -> Iterator[tuple[str, str]]:
        """What a URL or a form carries."""
        if self.kind is not Kind.CALL:
            yield "kind", self.kind.value
        yield from (("state", state.value) for state in State if state in self.states)
        if self.label:
            yield "label", ":".join(self.label)
        yield from ((name, text) for name, text in (("reason", self.reason), ("host", self.host)) if text)
        yield from ((name, time_text(moment)) for name, field in _TIMES.items() if (moment := getattr(self, field)))
        if self.overdue:
            yield "overdue", "true"
        if self.token:
            yield "pageToken", self.token


def read(pairs: Iterable[tuple[str, str]]) -> Filters:
    """Read a URL's query. Empty fields ask for nothing, since a form sends them too; names that are not a filter's are somebody else's."""
    found = Filters()
    for name, text in pairs:
        if text.strip():
            found = _with(found, name, text.strip())
    return found


def _with(found: Filters, name: str, text: str) -> Filters:
    try:
        return _read(found, name, text)
    except ValueError as error:
        return replace(found, wrong=(*found.wrong, f"{name} is {text!r}: {error}"))


def _read(found: Filters, name: str, text: str) -> Filters:
    match name:
        case "kind":
            return replace(found, kind=Kind(_one_of(text.lower(), [*Kind])))
        case "state":
            return replace(found, states=found.states | {State(_one_of(text.upper(), [*State]))})
        case "label":
            return replace(found, label=_label(text))
        case "reason":
            return replace(found, reason=_one_of(text, REASONS))
        case "host":
            return replace(found, host=text)
        case "createdAfter" | "createdBefore" | "updatedAfter":
            return replace(found, **{_TIMES[name]: _time(text)})  # type: ignore[arg-type] # each of them is a time
        case "overdue":
            return replace(found, overdue=_one_of(text.lower(), ("true", "false")) == "true")
        case "pageToken":
            return replace(found, token=text)
        case _:
            return found


def _one_of(text: str, known: Iterable[str]) -> str:
    names = list(known)
    if text not in names:
        raise ValueError(f"{', '.join(names)} are known")
    return text


def _label(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (colon and name):
        raise ValueError("a label is written as name:value")
    return name, value


def _time(text: str) -> datetime:
    """RFC 3339, or what a browser's field of a date and a time sends, which is in UTC here."""
    try:
        local = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("a time is written as 2026-11-24T08:00:00Z") from None
    return parse_time(text) if local.tzinfo else local.replace(tzinfo=UTC)
