"""What is known of a target from its URL."""

from datetime import timedelta
from urllib.parse import urlsplit

from longcall.core.task import TaskSpec

_LIMITS = {
    ".run.app": ("Cloud Run ends a request after 300 s by default and 3600 s at most", timedelta(seconds=300)),
    ".cloudfunctions.net": (
        "Cloud Functions end a request after 60 s by default, 540 s at most in the first generation and 3600 s in the second",
        timedelta(seconds=60),
    ),
}


def host(url: str) -> str:
    """The host's name in lower case, without port; empty for what is no URL."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def warnings(spec: TaskSpec) -> list[str]:
    """Say where the target's own limit is known to be shorter than what was asked for: the target's limit wins."""
    return [
        f"{said}: raise the target's own limit to what attemptTimeout asks for, or it ends the call first"
        for suffix, (said, limit) in _LIMITS.items()
        if host(spec.request.url).endswith(suffix) and spec.attempt_timeout > limit
    ]
