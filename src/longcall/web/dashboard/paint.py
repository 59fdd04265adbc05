"""Templates to answers: what every page knows, and the headers that keep it harmless."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from longcall.core.access import Right
from longcall.core.text import span_text, time_text
from longcall.web.static import Static

LIVE = "longcall-live"  # a request header: only the page's main part is wanted
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",  # under no-referrer a browser sends `Origin: null` with a form (Fetch, 3.2), which is nobody's origin
}
# Overrides, embeddings and isolates of direction: https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters
_TURNING = {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("longcall.web"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"iso": time_text, "utc": _utc, "span": span_text, "percent": _percent, "size": _size}
    for name in made.list_templates():
        made.get_template(name)  # compiled here and now, and not in somebody's request
    return made


def _plain(value: object) -> object:
    """Make visible what would turn text around, so that a stranger's URL reads as it is."""
    return value.translate(_TURNING) if type(value) is str else value


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _percent(part: float) -> str:
    return f"{part * 100:.3f}%"


def _size(count: int) -> str:
    """Bytes for people."""
    if count < 1024:  # noqa: PLR2004 — a kibibyte
        return f"{count} B"
    value, units = count / 1024, ["KiB", "MiB", "GiB"]
    while value >= 1024 and len(units) > 1:  # noqa: PLR2004 — as above
        value, units = value / 1024, units[1:]
    return f"{value:.1f} {units[0]}"


@dataclass(frozen=True)
class Painter:
    """Renders pages. Everything that goes in is escaped; nothing is marked as safe."""

    static: Static
    version: str
    environment: Environment = field(default_factory=_environment)

    def page(
        self, request: Request, name: str, now: datetime, values: Mapping[str, object], status: HTTPStatus = HTTPStatus.OK
    ) -> Response:
        """One page, or its main part alone for a page that is open already."""
        caller = request.state.caller
        known = {
            "now": now,
            "static": self.static.url,
            "version": self.version,
            "path": request.url.path,
            "who": caller.name,
            "writes": caller.right is Right.WRITE,
            "csrf": request.state.csrf,
            "whole": LIVE not in request.headers,
            "live": 0,
        }
        text = self.environment.get_template(name).render(known | dict(values))
        return Response(text.encode(errors="replace"), status.value, _HEADERS, media_type="text/html")
