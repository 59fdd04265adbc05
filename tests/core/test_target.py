import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from longcall.core.target import STRICT, HostPattern, Place, TargetRules

PUBLIC = [
    ("https://train-abc-uc.a.run.app/train", "train-abc-uc.a.run.app", 443),
    ("http://API.Example.com.:8080?x=http://127.0.0.1/", "api.example.com", 8080),
    ("HTTPS://xn--bcher-kva.example/b%C3%BCcher?q=ü#@127.0.0.1", "xn--bcher-kva.example", 443),
    ("http://my_service.example", "my_service.example", 80),
    ("http://93.184.216.34/", "93.184.216.34", 80),
    ("https://[2606:4700:4700:0:0:0:0:1111]:8443/", "2606:4700:4700::1111", 8443),
    ("http://127.0.0.1.example/", "127.0.0.1.example", 80),
    ("http://good.example:80#@127.0.0.1:80@/", "good.example", 80),
    ("http://good.example/@127.0.0.1/", "good.example", 80),
    ("http://metadata.google.internal.example/", "metadata.google.internal.example", 80),
    ("http://notlocalhost/", "notlocalhost", 80),
]


@pytest.mark.parametrize(("url", "host", "port"), PUBLIC)
def test_plain_urls_lead_where_they_say(url: str, host: str, port: int) -> None:
    """Host and port, in one spelling; nothing else of the URL counts."""
    assert Place.of(url) == Place(host, port)
    assert STRICT.refuse_url(url) is None


letters = st.sampled_from("aZ09.-_:/@[]%?#\\x１ü。\t \u00ad")  # noqa: RUF001 — tricks
hosts = st.text(letters, max_size=20) | st.sampled_from(["good.example", "[2606:4700::1]", "93.184.216.34", "a_b.example.", "X.example"])


@settings(max_examples=1000)
@given(
    scheme=st.sampled_from(["http", "HTTPS", "https"]),
    authority=hosts,
    port=st.sampled_from(["", ":1", ":080", ":65535"]),
    rest=st.text(letters, max_size=10),
)
def test_what_is_let_through_is_read_alike_by_the_client(scheme: str, authority: str, port: str, rest: str) -> None:
    """The HTTP client connects to the host and port that were judged, and finds no user in it."""
    url = f"{scheme}://{authority}{port}{rest}"
    if STRICT.refuse_url(url) is None:
        place, read = Place.of(url), URL(url, encoded=url.isascii())
        assert (read.host or "").lower().removesuffix(".") == place.host
        assert (read.port, read.user, read.password) == (place.port, None, None)


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        (
            "api.example.com",
            ["https://api.example.com/", "http://API.example.com.:81/"],
            ["https://x.api.example.com/", "https://example.com/"],
        ),
        (
            "*.run.app",
            ["https://a.run.app/", "https://a.b.c.run.app/"],
            ["https://run.app/", "https://a.run.app.example/", "https://arun.app/"],
        ),
        ("api.example.com:8443", ["https://api.example.com:8443/"], ["https://api.example.com/", "http://api.example.com:8080/"]),
        ("*.Example.com:443", ["https://a.example.com/"], ["http://a.example.com/"]),
        ("93.184.216.34", ["http://93.184.216.34:9/"], ["http://93.184.216.35/", "http://x.93.184.216.34.example/"]),
        ("[2606:4700:0::1]:80", ["http://[2606:4700::1]/"], ["http://[2606:4700::2]/", "https://[2606:4700::1]/"]),
    ],
)
def test_a_pattern_fits_its_hosts_and_no_others(pattern: str, fitting: list[str], others: list[str]) -> None:
    """Exact, or any labels below; with a port that one, without one any."""
    rules = TargetRules(allowed=(HostPattern.of("other.example"), HostPattern.of(pattern)))
    assert [url for url in fitting if rules.refuse_url(url)] == []
    assert [url for url in others if not rules.refuse_url(url)] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "*.",
        "https://a.example",
        "a.example/x",
        "a.*.example",
        "*a.example",
        "u@a.example",
        "a.example:x",
        "*.10.0.0.1",
        "*.[::1]",
        "[x]",
        "ü.example",
        "a b",
    ],
)
def test_a_wrong_pattern_is_said_to_be_one(text: str) -> None:
    """A pattern that fits nothing, or more than it seems to, ends the start."""
    with pytest.raises(ValueError, match=r"expected|no URL"):
        HostPattern.of(text)


def test_an_allowed_host_may_still_lead_where_nobody_may() -> None:
    """Patterns only narrow: they open no private address and no metadata server."""
    rules = TargetRules(
        allowed=tuple(HostPattern.of(each) for each in ("10.0.0.1", "metadata.google.internal", "localhost", "169.254.169.254"))
    )
    for url in ("http://10.0.0.1/", "http://metadata.google.internal/", "http://localhost/", "http://169.254.169.254/"):
        assert rules.refuse_url(url)


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("http://169.254.169.254/", "FORBIDDEN_ADDRESS", "metadata"),
        ("http://127.0.0.1/", "FORBIDDEN_ADDRESS", "LONGCALL_ALLOW_PRIVATE_TARGETS"),
        ("http://localhost/", "FORBIDDEN_TARGET", "LONGCALL_ALLOW_PRIVATE_TARGETS"),
        ("http://Metadata.Google.Internal./", "FORBIDDEN_TARGET", "metadata.google.internal is a metadata server"),
        ("http://2130706433/", "FORBIDDEN_TARGET", "four decimal numbers"),
        ("http://bücher.example/", "FORBIDDEN_TARGET", "xn--"),
        (f"http://{'a' * 64}.example/", "FORBIDDEN_TARGET", "a name in ASCII"),
        (f"http://{'a.' * 130}example/", "FORBIDDEN_TARGET", "characters"),
        ("http://a.example:99999/", "FORBIDDEN_TARGET", "from 1 to 65535"),
        ("ftp://a.example/", "FORBIDDEN_TARGET", "http:// or https://"),
        ("http://u@a.example/", "FORBIDDEN_TARGET", "Authorization header"),
    ],
)
def test_a_refusal_says_by_which_rule(url: str, code: str, says: str) -> None:
    """A code for programs, a sentence for people."""
    trouble = STRICT.refuse_url(url)
    assert trouble is not None
    assert trouble.code == code
    assert says in trouble.message
