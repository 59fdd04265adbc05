import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from longcall.core.audience import AccessTokenWanted, IdTokenWanted, overheard, wanted
from longcall.core.task import HttpRequest, NoAuth, OAuthToken, OidcToken

ACCOUNT = "caller@p.iam.gserviceaccount.com"
RUN, FUNCTION = "https://train-abc-uc.a.run.app", "https://us-central1-p.cloudfunctions.net"


@pytest.mark.parametrize(
    ("url", "audience"),
    [
        (f"{RUN}/train", RUN),
        (RUN, RUN),
        (f"{RUN}?x=1", RUN),
        (f"{RUN}#x", RUN),
        (f"{RUN}:443/train", RUN),
        ("https://svc-123.us-central1.run.app/a//b?c=https://x.example/", "https://svc-123.us-central1.run.app"),
        ("HTTPS://Train-ABC-uc.A.Run.App/Train", RUN),
        (f"{FUNCTION}/resize/a/b?c=d", f"{FUNCTION}/resize"),
        (f"{FUNCTION}/resize", f"{FUNCTION}/resize"),
        (f"{FUNCTION}/Resize_2?x", f"{FUNCTION}/Resize_2"),
        ("https://US-central1-p.CloudFunctions.net:443/f", f"{FUNCTION}/f"),
    ],
)
def test_google_s_own_hosts_get_an_id_token_unasked(url: str, audience: str) -> None:
    """Cloud Run's audience is the service's root, a function's the function."""
    found = wanted(HttpRequest(url))
    assert found == IdTokenWanted(audience)
    assert isinstance(found, IdTokenWanted)
    assert found.implied


@pytest.mark.parametrize(
    "url",
    [
        "http://train-abc-uc.a.run.app/train",
        "http://train-abc-uc.a.run.app:443/train",
        "http://us-central1-p.cloudfunctions.net/f",
        "https://evil-run.app/",
        "https://run.app/",
        "https://x.run.app.evil.com/",
        "https://x.run.app./",
        "https://x.run.app:8443/",
        "https://x.run.app:443.evil.com/",
        "https://x.run.app@evil.com/",
        "https://evil.com@x.run.app/",
        "https://user:pass@x.run.app/",
        "https://x.run.app\\@evil.com/",
        "https://x.run.app\\.evil.com/",
        "https://evil.com/.run.app",
        "https://evil.com?x.run.app/",
        "https://evil.com#.run.app",
        "https://evil.com\t.run.app/",
        "https://x.run.app\n.evil.com/",
        "https:///x.run.app/",
        "https:x.run.app/",
        "//x.run.app/",
        " https://x.run.app/",
        "https://.run.app/",
        "https://a..run.app/",
        "https://x%2erun.app/",
        "https://x.rün.app/",
        "https://x。run.app/",
        "https://x.cloudfunction\u017f.net/f",
        "https://\u017fvc.run.app/",
        "https://\u212a.run.app/",
        "https://x.cloudfunctions.net/\u017f",
        "https://[::1].run.app/",
        FUNCTION,
        f"{FUNCTION}/",
        f"{FUNCTION}//f",
        f"{FUNCTION}/../f",
        f"{FUNCTION}/%66",
        f"{FUNCTION}?f",
        "https://cloudfunctions.net/f",
        "https://evilcloudfunctions.net/f",
        "https://x.cloudfunctions.net.evil.com/f",
        "https://www.googleapis.com/x",
        "https://me.example/hook",
        "",
    ],
)
def test_nobody_else_gets_a_token_unasked(url: str) -> None:
    """Not over plain http, and no host that only looks like one of Google's."""
    assert wanted(HttpRequest(url)) is None


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
@pytest.mark.parametrize("auth", [None, NoAuth(), OidcToken(ACCOUNT), OAuthToken(ACCOUNT)])
def test_the_caller_s_own_authorization_wins(name: str, auth: OidcToken | OAuthToken | NoAuth | None) -> None:
    """Over what would be added unasked, and over what was asked for."""
    assert wanted(HttpRequest(RUN, headers={name: "Basic x"}, auth=auth)) is None


def test_what_is_asked_for_counts_everywhere() -> None:
    """An audience as given, else the whole URL as Cloud Tasks has it; scopes by spaces; a token of one's own without an account."""
    url = "http://10.0.0.7/train?x=1"
    assert wanted(HttpRequest(url, auth=OidcToken(ACCOUNT, "mine"))) == IdTokenWanted("mine", ACCOUNT)
    assert wanted(HttpRequest(url, auth=OidcToken(ACCOUNT))) == IdTokenWanted(url, ACCOUNT)
    assert wanted(HttpRequest(f"{RUN}/train", auth=OidcToken(ACCOUNT))) == IdTokenWanted(f"{RUN}/train", ACCOUNT)
    assert wanted(HttpRequest(url, auth=OidcToken("", ""))) == IdTokenWanted(url)
    cloud = "https://www.googleapis.com/auth/cloud-platform"
    assert wanted(HttpRequest(url, auth=OAuthToken(ACCOUNT))) == AccessTokenWanted((cloud,), ACCOUNT)
    assert wanted(HttpRequest(url, auth=OAuthToken(ACCOUNT, ""))) == AccessTokenWanted((cloud,), ACCOUNT)
    assert wanted(HttpRequest(url, auth=OAuthToken(ACCOUNT, "a b"))) == AccessTokenWanted(("a", "b"), ACCOUNT)


def test_auth_none_is_none() -> None:
    """Not even where a token would be added unasked."""
    assert wanted(HttpRequest(RUN, auth=NoAuth())) is None


MARKS = ("//", "/", "@", ":", ".", "\\", "443", "#", "?", "%2f", "f", "\u017f", "\u212a", "[", "]", "\n", "\t", ";", "。")
pieces = st.sampled_from(("https:", "http:", "x.run.app", "a.b.run.app", "run.app", "p.cloudfunctions.net", "evil.com", *MARKS))
near_misses = st.lists(pieces, max_size=8).map("".join) | st.text(string.printable, max_size=60).map(
    lambda rest: f"https://x.run.app{rest}"
)


@given(near_misses | st.lists(pieces, max_size=6).map(lambda parts: "https://x.run.app" + "".join(parts)))
def test_the_host_that_is_called_is_the_one_the_token_is_for(url: str) -> None:
    """Whatever a URL looks like: a token goes unasked only to Google's names over https, as the HTTP client reads them."""
    found = wanted(HttpRequest(url))
    if found is None:
        return
    assert isinstance(found, IdTokenWanted)
    called = URL(url, encoded=url.isascii())
    assert (called.scheme, called.port, called.user) == ("https", 443, None)
    assert called.host is not None
    assert called.host.lower().endswith((".run.app", ".cloudfunctions.net"))
    assert found.audience.startswith(f"https://{called.host.lower()}")


@pytest.mark.parametrize(
    ("url", "open_to_others"),
    [
        ("https://x.googleapis.com/", False),
        ("HTTPS://x.googleapis.com/", False),
        ("http://127.0.0.1:9/x", False),
        ("http://localhost/x", False),
        ("http://[::1]:9/x", False),
        ("http://x.googleapis.com/", True),
        ("http://10.0.0.7/", True),
        ("http://localhost.evil.com/", True),
        ("http://127.0.0.1@evil.com/", True),
    ],
)
def test_plain_http_to_another_machine_can_be_overheard(url: str, *, open_to_others: bool) -> None:
    """Only https, and this machine itself, keep a secret."""
    assert overheard(url) is open_to_others
