import pytest

from longcall.core.errors import CallerMistake
from longcall.core.signing import secret_of
from longcall.core.target import STRICT, HostPattern, TargetRules
from longcall.settings import Settings, read

SECRET = secret_of(b"k" * 32)


def test_nothing_set_is_the_defaults() -> None:
    """Other programs' variables are none of ours, and the client's own are known."""
    assert read({"HOME": "/root", "LONGCALL_URL": "http://x", "LONGCALL_TOKEN": "t"}) == Settings()


def test_what_is_set_counts() -> None:
    """Each variable sets its field."""
    found = read(
        {
            "LONGCALL_MAX_CALLS": "10",
            "LONGCALL_WHEN_FULL": "detach",
            "LONGCALL_REDACT_HEADERS": "X-Key, X-Other",
            "LONGCALL_PUBLIC_URL": "https://longcall.example/",
            "LONGCALL_WEBHOOK_SECRETS": SECRET,
            "LONGCALL_IMPERSONATE": "caller@p.iam.gserviceaccount.com",
        }
    )
    assert found.impersonate == "caller@p.iam.gserviceaccount.com"
    assert (found.max_calls, found.when_full, found.public_url) == (10, "detach", "https://longcall.example")
    assert found.redact_headers == {"authorization", "cookie", "x-key", "x-other"}
    assert found.webhook_secrets == {"default": (SECRET,)}


def test_where_may_be_called_is_shut_until_it_is_opened() -> None:
    """Only public addresses, of every host; each setting counts by itself."""
    assert read({}).targets == STRICT == TargetRules(allow_private=False, allowed=())
    opened = read({"LONGCALL_ALLOW_PRIVATE_TARGETS": "true", "LONGCALL_ALLOWED_TARGETS": "api.example.com, *.run.app:443,"})
    allowed = (HostPattern("api.example.com"), HostPattern("run.app", below=True, port=443), HostPattern("pubsub.googleapis.com"))
    assert opened.targets == TargetRules(allow_private=True, allowed=allowed)
    assert read({"LONGCALL_ALLOW_PRIVATE_TARGETS": "false"}).allow_private_targets is False


def test_several_secrets_have_names() -> None:
    """JSON of names with a list each: all of a name's secrets sign."""
    assert read({"LONGCALL_WEBHOOK_SECRETS": f'{{"billing": ["{SECRET}"]}}'}).webhook_secrets == {"billing": (SECRET,)}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MAX_CALL", "5", "did you mean LONGCALL_MAX_CALLS"),
        ("NONSENSE", "5", "known are"),
        ("MAX_CALLS", "many", "a whole number of at least 1"),
        ("MAX_CALLS", "0", "a whole number of at least 1"),
        ("WHEN_FULL", "queue", "refuse or detach"),
        ("QUEUE", "default", "projects/P/locations/L/queues/Q"),
        ("ALLOW_PRIVATE_TARGETS", "yes", "true or false"),
        ("ALLOWED_TARGETS", "api.example.com,https://x", "api.example.com:8443"),
        ("ALLOWED_TARGETS", "*", "api.example.com"),
        ("QUEUE_ENDPOINT", "localhost:8124", "http://"),
        ("LOG_FORMAT", "xml", "google or console or json"),
        ("IMPERSONATE", "caller", "a service account's address"),
        ("IMPERSONATE", "key.json", "a service account's address"),
        ("WEBHOOK_SECRETS", "whsec_c2hvcnQ=", "24 to 64 random bytes"),
        ("WEBHOOK_SECRETS", "{", "is not right"),
        ("WEBHOOK_SECRETS", '{"a": "b"}', '{"name": ["whsec_…"]}'),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, says: str) -> None:
    """One sentence with the variable and what was expected."""
    with pytest.raises(CallerMistake, match=r"LONGCALL_") as raised:
        read({f"LONGCALL_{name}": value})
    assert says in str(raised.value)


def test_secrets_are_not_repeated() -> None:
    """A wrong secret's value stands in no message, and a right one in no repr."""
    with pytest.raises(CallerMistake) as raised:
        read({"LONGCALL_WEBHOOK_SECRETS": "whsec_s3cret"})
    assert "s3cret" not in str(raised.value)
    assert SECRET not in repr(read({"LONGCALL_WEBHOOK_SECRETS": SECRET, "LONGCALL_QUEUE_SECRET": SECRET}))
