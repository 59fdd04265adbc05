"""Bodies of strangers, to be kept and not to be run."""

from collections.abc import Mapping


def harmless(given: Mapping[str, str]) -> dict[str, str]:
    """The headers of a download, of the body's own those that say what it is: a browser saves it, and never shows it in this origin."""
    kept = {name: given[name] for name in ("content-type", "content-encoding") if name in given}
    return {
        "content-type": "application/octet-stream",
        **kept,
        "content-disposition": "attachment",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    }
