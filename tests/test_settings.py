import pytest

from longcall.core.access import Right
from longcall.core.errors import CallerMistake
from longcall.core.signing import secret_of
from longcall.core.target import STRICT, HostPattern, TargetRules
from longcall.settings import Settings, read, references

SECRET = secret_of(b"k" * 32)
TOKENS = f"ci:read:{'0' * 64},ops:write:{'1' * 64}"


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
        ("AUTH", "basic", "none or token or google"),
        ("AUTH", "token", "LONGCALL_TOKENS names none: `longcall keygen --token NAME` makes one"),
        ("AUTH", "google", "LONGCALL_AUDIENCE does not say"),
        ("TOKENS", "ci:read:s3cret", "name:read:<sha256>"),
        ("TOKENS", TOKENS, "set LONGCALL_AUTH=token"),
        ("ALLOWED_CALLERS", "ann", "email or email:read or email:write"),
        ("ALLOWED_CALLERS", "ann@example.com", "set LONGCALL_AUTH=google"),
        ("CREATE_RATE", "0", "a whole number of at least 1"),
        ("DISPATCH_URL", "longcall.example", "http://"),
        ("DISPATCH_URL", "https://longcall.example", "go together"),
        ("DISPATCH_SERVICE_ACCOUNT", "queue@p.iam.gserviceaccount.com", "go together"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, says: str) -> None:
    """One sentence with the variable and what was expected."""
    with pytest.raises(CallerMistake, match=r"LONGCALL_") as raised:
        read({f"LONGCALL_{name}": value})
    assert says in str(raised.value)


def test_who_may_come_in_is_set() -> None:
    """Tokens with their rights; callers with theirs; several audiences."""
    found = read({"LONGCALL_AUTH": "token", "LONGCALL_TOKENS": TOKENS})
    assert [(token.caller.name, token.caller.right) for token in found.tokens] == [("ci", Right.READ), ("ops", Right.WRITE)]
    google = {"AUTH": "google", "AUDIENCE": "https://longcall.example, /projects/1/apps/p", "ALLOWED_CALLERS": "Ann@example.com:read"}
    found = read({f"LONGCALL_{name}": value for name, value in google.items()})
    assert found.audience == ("https://longcall.example", "/projects/1/apps/p")
    assert found.allowed_callers == {"ann@example.com": Right.READ}


def test_google_needs_somebody_to_allow() -> None:
    """Else nobody could ever come in."""
    with pytest.raises(CallerMistake, match="LONGCALL_ALLOWED_CALLERS names nobody"):
        read({"LONGCALL_AUTH": "google", "LONGCALL_AUDIENCE": "https://longcall.example"})


@pytest.mark.parametrize(("environ", "there"), [({}, False), ({"GAE_ENV": "standard"}, True), ({"GAE_ENV": ""}, False)])
def test_app_engine_says_that_it_is_app_engine(environ: dict[str, str], there: bool) -> None:  # noqa: FBT001 — a table's column
    """By its own variable; ours of that name is no setting."""
    assert read(environ).app_engine is there
    with pytest.raises(CallerMistake, match="is no setting"):
        read({"LONGCALL_APP_ENGINE": "1"})


def test_secrets_are_not_repeated() -> None:
    """A wrong secret's value stands in no message, and a right one in no repr."""
    with pytest.raises(CallerMistake) as raised:
        read({"LONGCALL_WEBHOOK_SECRETS": "whsec_s3cret"})
    assert "s3cret" not in str(raised.value)
    with pytest.raises(CallerMistake) as raised:
        read({"LONGCALL_TOKENS": "ci:read:s3cret"})
    assert "s3cret" not in str(raised.value)
    assert "1111" not in repr(read({"LONGCALL_AUTH": "token", "LONGCALL_TOKENS": TOKENS}))
    assert SECRET not in repr(read({"LONGCALL_WEBHOOK_SECRETS": SECRET, "LONGCALL_QUEUE_SECRET": SECRET}))


def test_a_setting_may_lie_in_secret_manager() -> None:
    """`sm://name` stands for what Secret Manager has under it; what is wrong with it is said without showing it."""
    environ = {"LONGCALL_WEBHOOK_SECRETS": "sm://hook", "LONGCALL_QUEUE_ENDPOINT": "sm://where", "LONGCALL_MAX_CALLS": "7"}
    assert references(environ) == {"sm://hook", "sm://where"}
    assert references({"LONGCALL_TOKEN": "sm://mine", "OTHER": "sm://x"}) == frozenset()
    found = read(environ, {"sm://hook": SECRET, "sm://where": "http://127.0.0.1:1"})
    assert (found.webhook_secrets, found.queue_endpoint, found.max_calls) == ({"default": (SECRET,)}, "http://127.0.0.1:1", 7)
    with pytest.raises(CallerMistake) as caught:
        read(environ, {"sm://hook": SECRET, "sm://where": "planted"})
    assert "LONGCALL_QUEUE_ENDPOINT is not right" in str(caught.value)
    assert "planted" not in str(caught.value)
