"""The dashboard's own files: one stylesheet, one module, one icon. They are the same for everybody, so anybody may have them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

PATH = "/static/"
_TYPES = {"style.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class File:
    """One file, and what changes when it does."""

    content: bytes
    kind: str
    mark: str


@dataclass(frozen=True, slots=True)
class Static:
    """Serves them. A URL with the file's mark is good for ever; any other is asked again, and mostly answered 304."""

    files: Mapping[str, File]

    @classmethod
    def load(cls) -> "Static":
        """Read them out of the package."""
        folder = resources.files("longcall.web").joinpath("static")
        return cls({name: _file(folder.joinpath(name).read_bytes(), kind) for name, kind in _TYPES.items()})

    def url(self, name: str) -> str:
        """Where a page finds a file of this very release."""
        return f"{PATH}{name}?v={self.files[name].mark}"

    async def answer(self, request: Request) -> Response:
        """Serve one (RFC 9110, 13.1.2)."""
        file = self.files.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        tag = f'"{file.mark}"'
        headers = {"ETag": tag, "Cache-Control": _FOR_EVER if request.query_params.get("v") == file.mark else "public, no-cache"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers=headers, media_type=file.kind)


def _file(content: bytes, kind: str) -> File:
    return File(content, kind, hashlib.sha256(content).hexdigest()[:16])
