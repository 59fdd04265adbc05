import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longcall.core import trace
from longcall.core.trace import TraceContext

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEX = "0123456789abcdef"
members = st.from_regex(r"[a-z]{1,12}=[a-z0-9]{1,128}", fullmatch=True)
nearly = st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{30,34}-[0-9a-f]{14,18}-[0-9a-f]{1,3}", fullmatch=True)
contexts = st.builds(
    TraceContext,
    st.text(HEX, min_size=32, max_size=32).filter(lambda text: text.strip("0")),
    st.text(HEX, min_size=16, max_size=16).filter(lambda text: text.strip("0")),
    sampled=st.booleans(),
)


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-fe", False),
        (f" 00-{TRACE}-{SPAN}-01\t", True),
        (f"01-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
    ],
)
def test_a_valid_traceparent_is_read(header: str, *, sampled: bool) -> None:
    """Trace, span and the sampled flag, also of a version to come."""
    assert trace.parse(header) == TraceContext(TRACE, SPAN, sampled=sampled)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01.",
        f"cc-{TRACE}-{SPAN}-01.what",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0x",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01",
        f"00-{'a' * 31}é-{SPAN}-01",
        "0" * 100_000,
    ],
)
def test_a_malformed_traceparent_starts_a_new_trace(header: str) -> None:
    """W3C's rules to the letter; and what Google's header says is not put in its place."""
    assert trace.parse(header, "vendor=1", f"{TRACE}/1;o=1") is None


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"{TRACE}/1;o=1", TraceContext(TRACE, f"{1:016x}")),
        (f"{TRACE}/18446744073709551615;o=1", TraceContext(TRACE, "f" * 16)),
        (f"{TRACE.upper()}/10;o=0", TraceContext(TRACE, f"{10:016x}", sampled=False)),
        (f"{TRACE}/10", TraceContext(TRACE, f"{10:016x}", sampled=False)),
        (f"{TRACE}/0;o=1", TraceContext(TRACE)),
        (TRACE, TraceContext(TRACE, sampled=False)),
        (f"{TRACE}/18446744073709551616;o=1", None),
        (f"{'0' * 32}/1;o=1", None),
        (f"{TRACE}/1;o=", None),
        (f"{TRACE}/-1;o=1", None),
        ("nonsense", None),
    ],
)
def test_google_s_older_header_counts_where_there_is_no_traceparent(header: str, found: TraceContext | None) -> None:
    """Its span is a decimal number, and without `o=1` it is not sampled."""
    assert trace.parse(None, cloud=header) == found


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("", ""),
        ("vendor=1", "vendor=1"),
        ("rojo=00f067aa0ba902b7, congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("tenant@system=x", "tenant@system=x"),
        ("a=1,a=2", ""),
        ("Upper=1", ""),
        ("a=b=c", ""),
        ("a=1,,b=2,", "a=1,b=2"),
        ("a=ü", ""),
        ("a=1\r\nX-Evil: 1", ""),
        (",".join(f"k{number}=1" for number in range(33)), ""),
        (f"long={'x' * 200},a={'y' * 100},b={'z' * 100},c={'w' * 100},d={'v' * 100},e=1", "a={},b={},c={},d={},e=1"),
    ],
)
def test_a_bad_tracestate_is_left_out_and_a_long_one_shortened(header: str, kept: str) -> None:
    """The trace goes on without it; of over 512 characters the long members go first."""
    expected = kept.format(*(letter * 100 for letter in "yzwv"))
    assert trace.parse(f"00-{TRACE}-{SPAN}-01", header) == TraceContext(TRACE, SPAN, state=expected)


@given(st.lists(members, unique_by=lambda member: member.partition("=")[0], max_size=32))
def test_a_tracestate_is_kept_from_its_front_and_within_bounds(given_ones: list[str]) -> None:
    """At most 512 characters, whole members, in their order."""
    found = trace.parse(f"00-{TRACE}-{SPAN}-01", ",".join(given_ones))
    assert found is not None
    assert len(found.state) <= trace.MAX_STATE
    fits = len(",".join(given_ones)) <= trace.MAX_STATE
    left = [member for member in given_ones if fits or len(member) <= trace.LONG_MEMBER]
    kept = found.state.split(",") if found.state else []
    assert kept == left[: len(kept)]
    assert not fits or kept == given_ones


@pytest.mark.parametrize(("header", "kept"), [("a=1;p=2,b=%20", "a=1;p=2,b=%20"), ("a=1\r\nb: 2", ""), ("x" * 8193, ""), ("a=ü", "")])
def test_baggage_that_can_t_be_a_header_is_left_out(header: str, kept: str) -> None:
    """Nothing that would break a request goes on to a target."""
    assert trace.parse(f"00-{TRACE}-{SPAN}-01", baggage=header) == TraceContext(TRACE, SPAN, baggage=kept)


@given(contexts, st.text(HEX, min_size=16, max_size=16).filter(lambda text: text.strip("0")))
def test_what_is_written_is_read_again(context: TraceContext, span: str) -> None:
    """A child has its parent's trace and flag, and its own span."""
    below = context.child(span)
    assert trace.parse(below.traceparent) == TraceContext(context.trace, span, sampled=context.sampled)
    assert below.parent == context.span


@given(st.text(max_size=80) | nearly, st.text(max_size=40))
def test_no_header_fails(header: str, state: str) -> None:
    """Whatever it is: nothing, or something that W3C's form holds."""
    for found in (trace.parse(header, state, baggage=state), trace.parse(None, state, header)):
        assert found is None or re.fullmatch(r"[0-9a-f]{32}", found.trace)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://x.example/a?sig=abc&b&c=", "https://x.example/a?sig=REDACTED&b&c=REDACTED"),
        ("https://me:word@x.example:8443/a#part", "https://x.example:8443/a"),
        ("http://[::1]:80/", "http://[::1]:80/"),
        ("http://[bad/", "REDACTED"),
    ],
)
def test_a_shown_url_has_no_credentials(url: str, shown: str) -> None:
    """User, password and every value of the query are cut."""
    assert trace.shown_url(url) == shown
