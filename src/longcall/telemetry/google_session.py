"""Google's own OTLP endpoint, which asks for credentials: https://cloud.google.com/stackdriver/docs/reference/telemetry/overview."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from longcall.core.errors import CallerMistake

if TYPE_CHECKING:
    from requests import Session

ENDPOINT = "telemetry.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True, slots=True)
class GoogleSession:
    """A session that brings the process's own credentials, and their project."""

    session: "Session"
    project: str

    @classmethod
    def for_any_of(cls, *endpoints: str) -> "GoogleSession | None":
        """Look for credentials if one of the endpoints is Google's; it may take seconds. Raises CallerMistake when there are none."""
        return cls.found() if any(map(_is_google, endpoints)) else None

    @classmethod
    def found(cls) -> "GoogleSession":
        """Look for the credentials that this process runs with. Raises CallerMistake when there are none."""
        import google.auth  # noqa: PLC0415 — only where it is asked for
        from google.auth.exceptions import DefaultCredentialsError  # noqa: PLC0415 — as above
        from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415 — as above

        try:
            credentials, project = google.auth.default(scopes=[SCOPE])
        except DefaultCredentialsError as error:
            raise CallerMistake(f"OTEL_* send to {ENDPOINT}, and there are no credentials for it: {error}") from None
        return cls(AuthorizedSession(credentials), project or "")  # type: ignore[no-untyped-call] # google-auth has no types here

    def for_endpoint(self, endpoint: str) -> "Session | None":
        """The session for Google's endpoint; none for any other, which must not see the token."""
        return self.session if _is_google(endpoint) else None


def _is_google(endpoint: str) -> bool:
    parts = urlsplit(endpoint)
    return (parts.scheme, parts.hostname) == ("https", ENDPOINT)
