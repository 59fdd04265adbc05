"""Bodies too large for a record: in a folder, or in a bucket."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from longcall.core.errors import CallerMistake
from longcall.stores.bodies_base import ObstoreBodies
from longcall.stores.bodies_bucket import BucketBodies
from longcall.stores.bodies_folder import FolderBodies

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")  # https://cloud.google.com/storage/docs/buckets#naming
_PREFIX = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/|$))*")


def open_bodies(url: str) -> ObstoreBodies:
    """Open the body store that `LONGCALL_BODIES` names: `file:///folder`, made if missing, or `gs://bucket/prefix`.

    Raises CallerMistake for what is no such URL, and for Google credentials that can't be read; UnavailableError for a folder that can't be
    opened. A bucket is first asked for when a body is put or read.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.strip("/"):
        return FolderBodies(Path(unquote(parts.path)))
    prefix = parts.path.removeprefix("/")
    if parts.scheme == "gs" and _BUCKET.fullmatch(parts.netloc) and _PREFIX.fullmatch(prefix) and not parts.query + parts.fragment:
        return BucketBodies(parts.netloc, prefix.rstrip("/"))
    raise CallerMistake(f"{url!r} names no body store: give a folder as file:///absolute/path, or a bucket as gs://bucket/prefix")
