"""What a failure of Firestore means: whether a write may have landed, and a sentence for whoever has to mend it.

The codes: https://cloud.google.com/firestore/docs/understand-error-codes
"""

from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from grpc import StatusCode
from grpc.aio import UsageError

from longcall.core.errors import UnavailableError, UnclearError

FAILURES = (GoogleAPIError, GoogleAuthError, UsageError)
# Answers of a server that looked at a write and did not make it. After any other it may have landed: most are the way's, not the server's.
_REFUSALS = frozenset(
    {
        StatusCode.INVALID_ARGUMENT,
        StatusCode.NOT_FOUND,
        StatusCode.ALREADY_EXISTS,
        StatusCode.PERMISSION_DENIED,
        StatusCode.FAILED_PRECONDITION,
        StatusCode.UNIMPLEMENTED,
        StatusCode.UNAUTHENTICATED,
    }
)
_HINTS = {
    StatusCode.PERMISSION_DENIED: "grant this service account the role roles/datastore.user",
    StatusCode.UNAUTHENTICATED: "the credentials of this process are not taken",
    StatusCode.NOT_FOUND: "there is no such project or database; `gcloud firestore databases create` makes one",
    StatusCode.FAILED_PRECONDITION: "deploy/firestore.indexes.json has the indexes it needs, and its mode must be Firestore Native",
}


def write_error(error: Exception, where: str) -> UnavailableError:
    """What to raise for a write: UnclearError when it may have landed."""
    if not isinstance(error, GoogleAPICallError) or error.grpc_status_code in _REFUSALS:
        return read_error(error, where)
    return UnclearError(f"{where} did not say whether it kept a write: {_words(error)}")


def read_error(error: Exception, where: str) -> UnavailableError:
    """What to raise for a read, and for a write that did not land."""
    if isinstance(error, UsageError):
        return UnavailableError("the store is closed")
    hint = next((hint for code, hint in _HINTS.items() if code == getattr(error, "grpc_status_code", None)), None)
    return UnavailableError(f"{where} can't be used: {hint} ({_words(error)})" if hint else f"{where} is out of reach: {_words(error)}")


def _words(error: Exception) -> str:
    if isinstance(error, GoogleAPICallError) and error.grpc_status_code is not None:
        return f"{error.grpc_status_code.name}, {error.message}"
    return str(error)
