"""/login, as a browser uses it: a form, a cookie, a CSRF token."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import yarl

from longcall.assembly import LaptopOptions, laptop
from tests.web.entrances import MODES, READ, WRITE

TASK = {"httpRequest": {"url": "http://127.0.0.1:9/"}}


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """Keeps cookies, as a browser does, for the API at its base URL."""
    async with (
        laptop(LaptopOptions(0, 0, 0, tmp_path / "data", MODES["token"])) as running,
        aiohttp.ClientSession(running.api_url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        yield session


async def log_in(browser: aiohttp.ClientSession, token: str, **headers: str) -> aiohttp.ClientResponse:
    """Send the form."""
    async with browser.post("/login", data={"token": token}, headers=headers, allow_redirects=False) as answer:
        await answer.read()
        return answer


def own(browser: aiohttp.ClientSession) -> str:
    """The API's own origin."""
    return str(browser._base_url).rstrip("/")  # noqa: SLF001 — aiohttp tells it to nobody


def cookies(browser: aiohttp.ClientSession) -> dict[str, str]:
    """What the browser has kept."""
    return {cookie.key: cookie.value for cookie in browser.cookie_jar}


async def test_the_form_is_plain(browser: aiohttp.ClientSession) -> None:
    """No script, nothing from elsewhere, nothing inline, and a policy that would not let it run."""
    async with browser.get("/login") as answer:
        page = await answer.text()
        assert (answer.status, answer.content_type) == (200, "text/html")
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not any(word in page for word in ("<script", "style=", " on", "http:", "https:", "//"))


async def test_a_token_begins_a_session(browser: aiohttp.ClientSession) -> None:
    """The cookie is out of scripts' and other sites' reach, and is not the token; reading works with it alone."""
    answer = await log_in(browser, WRITE)
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    session, csrf = answer.cookies["longcall-session"], answer.cookies["longcall-csrf"]
    assert (session["httponly"], session["samesite"], session["path"], session["max-age"]) == (True, "strict", "/", "43200")
    assert (csrf["httponly"], csrf["samesite"]) == ("", "strict")
    assert WRITE not in session.value + csrf.value
    async with browser.get("/v1/tasks") as read:
        assert read.status == 200


async def test_a_change_carries_the_csrf_token(browser: aiohttp.ClientSession) -> None:
    """Without it, with another one, or from another site's page: 403 and nothing made. A bearer needs none."""
    await log_in(browser, WRITE)
    csrf = cookies(browser)["longcall-csrf"]
    tries = [
        ({}, 403),
        ({"X-CSRF-Token": "0" * 64}, 403),
        ({"X-CSRF-Token": csrf, "Origin": "https://evil.example"}, 403),
        ({"X-CSRF-Token": csrf, "Origin": own(browser)}, 201),
        ({"X-CSRF-Token": csrf}, 201),
        ({"Authorization": f"Bearer {WRITE}"}, 201),
        ({"Authorization": "Bearer wrong", "X-CSRF-Token": csrf}, 401),
    ]
    for headers, status in tries:
        async with browser.post("/v1/tasks", json=TASK, headers=headers) as answer:
            assert answer.status == status, headers


async def test_a_session_has_its_token_s_right(browser: aiohttp.ClientSession) -> None:
    """Who may only read, may only read, with or without a CSRF token."""
    await log_in(browser, READ)
    async with browser.post("/v1/tasks", json=TASK, headers={"X-CSRF-Token": cookies(browser)["longcall-csrf"]}) as answer:
        assert answer.status == 403


async def test_logging_out_forgets_it(browser: aiohttp.ClientSession) -> None:
    """Another site's page can't do it; after it the cookies are gone."""
    await log_in(browser, WRITE)
    async with browser.post("/logout") as answer:
        assert answer.status == 403
    async with browser.post("/logout", headers={"X-CSRF-Token": cookies(browser)["longcall-csrf"]}, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/login")
    assert cookies(browser) == {}
    async with browser.get("/v1/tasks") as answer:
        assert answer.status == 401
    async with browser.post("/logout") as answer:
        assert answer.status == 403


async def test_a_browser_is_sent_to_the_form(browser: aiohttp.ClientSession) -> None:
    """A person who opens a page is asked to log in; a program is told 401."""
    async with browser.get("/", headers={"Accept": "text/html,*/*"}, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/login")
    async with browser.post("/v1/tasks", headers={"Accept": "text/html"}, allow_redirects=False) as answer:
        assert answer.status == 401


@pytest.mark.parametrize("token", ["", "wrong", READ + "x", "<script>"])
async def test_a_wrong_token_is_said(browser: aiohttp.ClientSession, token: str) -> None:
    """On the form, which does not repeat it."""
    async with browser.post("/login", data={"token": token}) as answer:
        page = await answer.text()
        assert (answer.status, answer.content_type) == (401, "text/html")
        assert not answer.cookies
    assert "not known here" in page
    assert "<script" not in page


async def test_guessing_is_slowed(browser: aiohttp.ClientSession) -> None:
    """After ten wrong ones from an address, 429 for a while, also for the right one: nobody finds out by going on."""
    statuses = [(await log_in(browser, f"guess-{number}")).status for number in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    refused = await log_in(browser, WRITE)
    assert (refused.status, 1 <= int(refused.headers["Retry-After"]) <= 10) == (429, True)
    async with browser.get("/v1/tasks", headers={"Authorization": f"Bearer {WRITE}"}) as answer:
        assert answer.status == 200


async def test_another_site_s_form_logs_nobody_in(browser: aiohttp.ClientSession) -> None:
    """Else its owner could have others work under a name of his."""
    assert (await log_in(browser, WRITE, Origin="https://evil.example")).status == 403


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [(b'{"token":"x"}', "application/json", 415), (b"token=" + b"x" * 5000, "application/x-www-form-urlencoded", 413)],
)
async def test_what_is_no_form_is_refused(browser: aiohttp.ClientSession, body: bytes, kind: str, status: int) -> None:
    """Another type, and more than a token can be."""
    async with browser.post("/login", data=body, headers={"Content-Type": kind}) as answer:
        assert answer.status == status


@pytest.mark.parametrize("host", ["longcall.example", "evil.example:80"])
async def test_beyond_loopback_the_cookie_is_secure(browser: aiohttp.ClientSession, host: str) -> None:
    """A browser sends it over TLS alone; only on this machine's own plain HTTP it could not be kept so."""
    answer = await log_in(browser, WRITE, Host=host)
    assert answer.cookies["longcall-session"]["secure"] is True
    assert answer.cookies["longcall-csrf"]["secure"] is True
    assert (await log_in(browser, WRITE)).cookies["longcall-session"]["secure"] == ""


async def test_a_forged_cookie_is_nobody_s(browser: aiohttp.ClientSession) -> None:
    """Also one that was a session's and says that it lasts longer."""
    await log_in(browser, WRITE)
    expires, _, rest = cookies(browser)["longcall-session"].partition(".")
    browser.cookie_jar.update_cookies({"longcall-session": f"{int(expires) + 9}.{rest}"}, yarl.URL(own(browser)))
    async with browser.get("/v1/tasks") as answer:
        assert answer.status == 401


@pytest.mark.parametrize("mode", ["none", "google"])
async def test_where_no_token_is_known_there_is_no_form(mode: str, tmp_path: Path) -> None:
    """IAP has its own, and whoever reaches loopback needs none."""
    async with (
        laptop(LaptopOptions(0, 0, 0, tmp_path / "data", MODES[mode])) as running,
        aiohttp.ClientSession(running.api_url) as session,
        session.post("/login", data={"token": WRITE}) as answer,
    ):
        assert answer.status == (404 if mode == "none" else 401)
