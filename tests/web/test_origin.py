"""Host and Origin, as values."""

import pytest

from longcall.web.origin import host_of, is_foreign, is_known

KNOWN = frozenset({"longcall.example"})


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("LOCALHOST:8080", True),
        ("127.0.0.1:8080", True),
        ("127.9.9.9", True),
        ("[::1]:8080", True),
        ("longcall.example", True),
        ("longcall.example:444", False),
        ("", False),
        ("evil.example:8080", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("192.168.0.7:8080", False),
        ("0.0.0.0:8080", False),
        ("[::1", False),
        ("user@127.0.0.1@evil.example", False),
    ],
)
def test_only_loopback_and_our_own_name_are_known(host: str, known: bool) -> None:  # noqa: FBT001 — a table's column
    """Another name that points here was made to."""
    assert is_known(host, KNOWN) is known


@pytest.mark.parametrize(
    ("origin", "foreign"),
    [
        (None, False),
        ("http://127.0.0.1:8080", False),
        ("https://longcall.example", False),
        ("http://127.0.0.1:3000", True),
        ("http://localhost:8080", True),
        ("https://evil.example", True),
        ("https://longcall.example:444", True),
        ("null", True),
        ("", True),
        ("http://[::1", True),
        ("http://127.0.0.1:8080.evil.example", True),
    ],
)
def test_another_site_s_origin_is_foreign(origin: str | None, foreign: bool) -> None:  # noqa: FBT001 — as above
    """Another port of this machine is another site too; no Origin is no browser's change."""
    assert is_foreign(origin, "127.0.0.1:8080", KNOWN) is foreign


def test_a_host_is_read_without_its_port() -> None:
    """Lower case, no brackets."""
    assert [host_of(each) for each in ("A.example:1", "[::1]:2", "b", ":3")] == ["a.example", "::1", "b", ""]
