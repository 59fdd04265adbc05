import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from longcall.core.addresses import METADATA, NEVER, PRIVATE
from longcall.core.attempt import Break, Broken, Outcome, Responded
from longcall.core.request import Limits
from longcall.core.target import STRICT, HostPattern, TargetRules
from longcall.core.task import HttpRequest, OidcToken
from longcall.engine.ports import CallRequest
from longcall.outbound.caller import HttpCaller
from longcall.outbound.clock import SystemClock
from longcall.stores.bodies import open_bodies
from tests.hostile import HOSTILE, METADATA_NAMES, SPELT, SPELT_V6, TRICKS, V4, V6, answers
from tests.hostile import NEVER as NEVER_ADDRESSES
from tests.outbound.names import Names
from tests.target import Line, Target, well_behaved

ROOT = Path(__file__).parent.parent.parent
LIMITS = Limits(timedelta(seconds=5), None, timedelta(seconds=5))
OPEN = TargetRules(allow_private=True)
Call = Callable[[str], Outcome]

_watching: list[list[object]] = []


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect":
        for seen in _watching:
            seen.append(arguments[1])


sys.addaudithook(_hear)  # Python's own report of every connect(); it can't be taken back, so it listens only while it is asked to


@contextmanager
def connects() -> Iterator[list[object]]:
    """Every address that this process begins to connect to meanwhile."""
    seen: list[object] = []
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching.remove(seen)


def to(url: str) -> CallRequest:
    """A request as the engine hands it over."""
    return CallRequest(HttpRequest(url, "GET", {}, b""), (), "requests/one", "responses/one")


async def call(caller: HttpCaller, url: str) -> Outcome:
    """Make one call."""
    return await caller.call(to(url), LIMITS, lambda _: None)


@asynccontextmanager
async def opened(folder: Path, rules: TargetRules, names: Names | None = None) -> AsyncIterator[HttpCaller]:
    """The real caller under these rules, with a resolver of the test's."""
    async with HttpCaller.open(
        open_bodies((folder / "bodies").as_uri()), SystemClock(), 1_000_000, rules, resolver=names or Names()
    ) as caller:
        yield caller


@contextmanager
def calling(folder: Path, rules: TargetRules) -> Iterator[Call]:
    """The same for tests that are no coroutines; names lead where the table says."""
    names = Names({name: [found] for name, found in answers().items()})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        context = opened(folder, rules, names)
        caller = runner.run(context.__aenter__())
        yield lambda url: runner.run(call(caller, url))
        runner.run(context.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """Call under the rules that hold when nothing is set."""
    with calling(tmp_path_factory.mktemp("strict"), STRICT) as made:
        yield made


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """Call under ALLOW_PRIVATE_TARGETS."""
    with calling(tmp_path_factory.mktemp("private"), OPEN) as made:
        yield made


def is_refused(outcome: Outcome) -> bool:
    """Refused, with a sentence, for certain without having run."""
    return (
        isinstance(outcome, Broken)
        and outcome.how is Break.REFUSED
        and outcome.trouble.code in {"FORBIDDEN_TARGET", "FORBIDDEN_ADDRESS"}
        and len(outcome.trouble.message.split()) > 3
        and (outcome.may_have_run, outcome.sent_time) == (False, None)
    )


def test_the_table_is_long() -> None:
    """Over a thousand URLs."""
    assert len(HOSTILE) > 1000


def test_no_hostile_url_gets_a_connection(strict: Call) -> None:
    """Not one connect() for the whole table: each call is `refused`, and says by which rule."""
    with connects() as seen:
        outcomes = {url: strict(url) for url in HOSTILE}
    assert seen == []
    assert {url: outcome for url, outcome in outcomes.items() if not is_refused(outcome)} == {}


def test_metadata_and_link_local_stay_shut_whatever_is_set(private: Call) -> None:
    """ALLOW_PRIVATE_TARGETS opens neither, in no spelling, by no name."""
    literals = [f"http://{spell(each)}/" for each in NEVER_ADDRESSES if each in V4 for spell in SPELT.values()]
    literals += [f"http://{spell(each)}/" for each in NEVER_ADDRESSES if each in V6 for spell in SPELT_V6.values()]
    by_name = [f"http://{name}/" for name, found in answers().items() if set(found) & set(NEVER_ADDRESSES)]
    with connects() as seen:
        outcomes = {url: private(url) for url in (*literals, *by_name, *(f"http://{name}/" for name in METADATA_NAMES))}
    assert seen == []
    assert len(outcomes) > 300
    assert {url: outcome for url, outcome in outcomes.items() if not is_refused(outcome)} == {}


def inside(network: IPv4Network | IPv6Network) -> st.SearchStrategy[str]:
    """Any address of a network."""
    return st.ip_addresses(network=network).map(str)


forbidden_v4 = st.sampled_from([each.network for each in METADATA + PRIVATE + NEVER if each.network.version == 4]).flatmap(inside)
forbidden_v6 = st.sampled_from([each.network for each in METADATA + PRIVATE + NEVER if each.network.version == 6]).flatmap(inside)
ungiven_v6 = st.ip_addresses(v=6).filter(lambda a: a not in IPv6Network("2000::/3")).map(str)
spelt_hosts = st.one_of(
    st.builds(lambda spell, address: spell(address), st.sampled_from(list(SPELT.values())), forbidden_v4),
    st.builds(
        lambda spell, address: spell(address),
        st.sampled_from(list(SPELT_V6.values())),
        (forbidden_v6 | ungiven_v6).filter(
            lambda a: IPv6Address(a).ipv4_mapped is None and IPv6Address(a) not in IPv6Network("64:ff9b::/96")
        ),
    ),
)
tails = st.sampled_from(["", "/", "/latest/", "?x=1", "/#@good.example", ":80/", ":8080", ":443/a?b#c"])


@settings(max_examples=1000)
@given(scheme=st.sampled_from(["http", "https", "HTTP"]), host=spelt_hosts, tail=tails)
def test_no_way_to_write_a_forbidden_address_gets_a_connection(strict: Call, scheme: str, host: str, tail: str) -> None:
    """Any address of any forbidden network, in any spelling, with any tail."""
    with connects() as seen:
        outcome = strict(f"{scheme}://{host}{tail}")
    assert seen == []
    assert is_refused(outcome), outcome


pieces = st.lists(
    st.sampled_from(
        ["http:", "https:", "/", "//", "\\", "@", ":", "#", "?", "%", "%40", "%2f", "[", "]", ".", "127.0.0.1", "169.254.169.254"]
    )
    | st.sampled_from(["localhost", "::1", "0x7f", "80", "\t", "\n", " ", "\x00", "metadata.google.internal", "２", "。", "\u00ad"]),  # noqa: RUF001 — tricks
    max_size=9,
).map("".join)


@settings(max_examples=1000)
@given(start=st.sampled_from(["http://", "https://", "http:", ""]), rest=pieces)
def test_no_mixture_of_tricks_gets_a_connection(strict: Call, start: str, rest: str) -> None:
    """Pieces of every trick in any order: at most they make the name of nobody."""
    with connects() as seen:
        outcome = strict(start + rest)
    assert seen == []
    assert is_refused(outcome) or (isinstance(outcome, Broken) and outcome.trouble.code == "NAME_NOT_FOUND"), outcome


@settings(max_examples=300)
@given(found=st.lists(st.one_of(forbidden_v4, forbidden_v6, ungiven_v6), min_size=1, max_size=3), good=st.lists(st.just("93.184.216.34")))
def test_no_name_that_leads_to_a_forbidden_address_gets_a_connection(
    tmp_path_factory: pytest.TempPathFactory, found: list[str], good: list[str]
) -> None:
    """Whatever else the name's DNS says: one forbidden address refuses it, and the attempt does not go to the others."""
    forbidden = [each for each in found if STRICT.refuse_address(each)]
    names = Names({"pretty.example": [good + forbidden + good]})

    async def attempt() -> Outcome:
        async with opened(tmp_path_factory.getbasetemp(), STRICT, names) as caller:
            return await call(caller, "http://pretty.example/")

    if not forbidden:
        return
    with connects() as seen:
        outcome = uvloop.run(attempt())
    assert seen == []
    assert is_refused(outcome), outcome


async def test_what_may_be_called_is_called(tmp_path: Path, serve: Callable[..., object]) -> None:
    """The measure itself holds: an open rule connects, once, to the vetted address."""
    target = await start(serve)
    async with opened(tmp_path, OPEN) as caller:
        with connects() as seen:
            assert isinstance(await call(caller, target.url), Responded)
    assert seen == [("127.0.0.1", target.port)]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "192.168.0.1", "::1", "fd12::1", "::ffff:127.0.0.1"])
async def test_a_socket_is_vetted_by_its_own_address(tmp_path: Path, address: str) -> None:
    """The last look is at the very address that is connected to, whatever was let through before it."""
    async with opened(tmp_path, STRICT) as caller:
        with connects() as seen:
            host = f"[{address}]" if ":" in address else address
            outcome = await call(replace(caller, rules=OPEN), f"http://{host}/")
    assert (is_refused(outcome), seen) == (True, [])
    assert isinstance(outcome, Broken)
    assert outcome.trouble.code == "FORBIDDEN_ADDRESS"


async def start(serve: Callable[..., object], handler: Callable[[Line], object] = well_behaved) -> Target:
    """A target that answers."""
    return await serve(handler)  # type: ignore[misc,no-any-return] # the fixture's own type


async def test_a_name_is_looked_up_once_and_connected_to_as_vetted(tmp_path: Path, serve: Callable[..., object]) -> None:
    """A name that answers differently the second time is not asked a second time; at the next attempt it is vetted anew."""

    async def closes(line: Line) -> None:
        await line.request()
        await line.answer(200, b"ok", "Connection: close")

    target = await start(serve, closes)
    names = Names({"turns.example": [["127.0.0.1"], ["169.254.169.254"]]})
    async with opened(tmp_path, OPEN, names) as caller:
        with connects() as seen:
            first = await call(caller, f"http://turns.example:{target.port}/")
            assert names.asked == ["turns.example"]
            second = await call(caller, f"http://turns.example:{target.port}/")
    assert isinstance(first, Responded)
    assert is_refused(second)
    assert seen == [("127.0.0.1", target.port)]
    assert len(names.asked) == 2


async def test_a_redirect_to_metadata_is_an_answer(tmp_path: Path, serve: Callable[..., object]) -> None:
    """Nothing is followed: the one connection is the one to the target."""

    async def tempting(line: Line) -> None:
        await line.request()
        await line.answer(307, b"", "Location: http://169.254.169.254/computeMetadata/v1/", "Refresh: 0; url=http://[fd00:ec2::254]/")

    target = await start(serve, tempting)
    async with opened(tmp_path, OPEN) as caller:
        with connects() as seen:
            outcome = await call(caller, target.url)
    assert isinstance(outcome, Responded)
    assert (outcome.response.status, seen) == (307, [("127.0.0.1", target.port)])


async def test_no_proxy_is_taken_from_the_environment(
    tmp_path: Path, serve: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would do the look-up and the connecting for us, unvetted."""
    proxy, target = await start(serve), await start(serve)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    async with opened(tmp_path, OPEN) as caller:
        assert isinstance(await call(caller, target.url), Responded)
        assert is_refused(await call(caller, "http://169.254.169.254/"))
    assert (proxy.connections, target.connections) == (0, 1)


async def test_loopback_by_name_can_be_opened(tmp_path: Path, serve: Callable[..., object]) -> None:
    """Under ALLOW_PRIVATE_TARGETS a laptop calls itself by its name, as its own resolver has it."""
    target = await start(serve)
    async with HttpCaller.open(open_bodies((tmp_path / "bodies").as_uri()), SystemClock(), 1000, OPEN) as caller:
        assert isinstance(await call(caller, f"http://localhost:{target.port}/"), Responded)


@pytest.mark.parametrize(
    "url", [url for url in TRICKS if "://127.0.0.1/" not in url.lower() and "localhost" not in url and "::1]/" not in url]
)
def test_tricks_stay_tricks_whatever_is_set(private: Call, url: str) -> None:
    """What parsers read each in their own way is refused where loopback may be called, too."""
    with connects() as seen:
        outcome = private(url)
    assert seen == []
    assert is_refused(outcome), outcome


async def test_allowed_targets_hold_when_a_call_is_made(tmp_path: Path, serve: Callable[..., object]) -> None:
    """A task made before the setting changed is refused at its next attempt, before any name is looked up."""
    target = await start(serve)
    names = Names({"a.example": [["127.0.0.1"]], "b.example": [["127.0.0.1"]]})
    rules = TargetRules(allow_private=True, allowed=(HostPattern.of("a.example"),))
    async with opened(tmp_path, rules, names) as caller:
        assert isinstance(await call(caller, f"http://A.example.:{target.port}/"), Responded)
        for url in (f"http://b.example:{target.port}/", target.url):
            outcome = await call(caller, url)
            assert is_refused(outcome)
            assert isinstance(outcome, Broken)
            assert "ALLOWED_TARGETS" in outcome.trouble.message
    assert (target.connections, len(names.asked)) == (1, 1)


async def test_a_refused_target_is_no_reason_to_fetch_a_token(tmp_path: Path) -> None:
    """The rules come first."""
    asked = HttpRequest("http://169.254.169.254/", auth=OidcToken("caller@p.iam.gserviceaccount.com"))
    async with opened(tmp_path, OPEN) as caller:
        assert is_refused(await caller.call(CallRequest(asked, (), None, "responses/one"), LIMITS, lambda _: None))


def test_on_a_machine_where_every_address_answers_no_hostile_url_is_answered(tmp_path: Path) -> None:
    """In a network namespace that routes all addresses to one listener, good ones reach it as vetted, and the table not at all."""
    apart = ["unshare", "--map-root-user", "--net"]
    if (
        not shutil.which("unshare")
        or not shutil.which("ip")
        or subprocess.run([*apart, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip(
            "this kernel lets nobody make a network namespace, or there is no `ip`; the other tests hold the same by watching connect()"
        )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}  # noqa: TID251 — a child needs it
    command = [*apart, sys.executable, "-m", "tests.outbound.anywhere", str(tmp_path / "bodies")]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, cwd=ROOT, timeout=50)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert set(said["good"].values()) == {"response"}, said["good"]
    assert len(said["reached_by_good"]) == len(said["good"])
    assert (said["twice"], said["reached_by_twice"], said["lookups"]) == (["response", "refused"], ["93.184.216.34"], 2)
    assert {url: how for url, how in said["hostile"].items() if how != "refused"} == {}
    assert (len(said["hostile"]), said["reached_by_hostile"]) == (len(HOSTILE), [])
