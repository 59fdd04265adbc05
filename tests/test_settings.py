import pytest

from longcall.core.access import Right
from longcall.core.errors import CallerMistake
from longcall.core.signing import secret_of
from longcall.settings import Settings, read

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
        }
    )
    assert (found.max_calls, found.when_full, found.public_url) == (10, "detach", "https://longcall.example")
    assert found.redact_headers == {"authorization", "cookie", "x-key", "x-other"}
    assert found.webhook_secrets == {"default": (SECRET,)}


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
        ("QUEUE_ENDPOINT", "localhost:8124", "http://"),
        ("LOG_FORMAT", "xml", "console or json"),
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
