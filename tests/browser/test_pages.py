"""The dashboard in a real browser: what it gains by its script, and that nothing else runs."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from longcall.core import lifecycle
from longcall.core.task import State
from tests.browser.conftest import Site, Visitor
from tests.end_to_end.program import up
from tests.end_to_end.test_up import ask
from tests.engine.house import House
from tests.google import missing
from tests.sdk.states import hanging
from tests.target import Target
from tests.web import scenes
from tests.web.entrances import READ, WRITE

Visit = Callable[..., Awaitable[Visitor]]
pytestmark = pytest.mark.asyncio(loop_scope="module")
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 860}
WIDTHS = pytest.mark.parametrize("width", [PHONE, DESK], ids=("phone", "desk"))
OVER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
CONTRAST = """() => {
  const light = (rgb) => {
    const part = rgb.map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
  };
  const read = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = read(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.99) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.querySelectorAll("main *, header *, footer *")) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.nodeValue.trim())) continue;
    if (element.closest("svg") || element.closest(".hidden") || !element.getClientRects().length) continue;
    const [one, other] = [light(read(getComputedStyle(element).color).slice(0, 3)), light(behind(element))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < 4.5) faint.push(`${element.className || element.tagName}: ${ratio.toFixed(2)}`);
  }
  return [...new Set(faint)];
}"""


async def furnished(site: Site) -> list[str]:
    """Put a bit of everything there, and return where it is to be seen."""
    now = datetime.now(UTC)  # noqa: TID251 — the browser's own clock is the machine's
    nasty = scenes.nasty(now)
    await site.put(*scenes.many(now, 120), scenes.twelve(now), nasty, scenes.large(now), scenes.invalid(now), scenes.stopped(now))
    tasks = ("nightly-import", nasty.id, "large-answer", "by-hand-17")
    asked = ("stopped/retry", "nightly-import/cancel")
    return ["/", "/tasks", "/tasks?kind=call&label=team:web", "/tasks:retry", *(f"/tasks/{each}" for each in (*tasks, *asked))]


async def three(site: Site) -> datetime:
    """Put three tasks there, as of now."""
    now = datetime.now(UTC)  # noqa: TID251 — as above
    await site.put(*scenes.three(now))
    return now


@pytest.mark.parametrize("scheme", ["light", "dark"])
@WIDTHS
async def test_every_page_fits_and_can_be_read(site: Site, visit: Visit, width: dict[str, int], scheme: str) -> None:
    """No page is wider than its window, no text is fainter than WCAG's 4.5 to 1, no alert of a stranger's runs."""
    visitor = await visit(viewport=width, color_scheme=scheme)
    for path in await furnished(site):
        page = await visitor.open(path)
        await page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        assert await page.evaluate(OVER) == 0, path
        assert await page.evaluate(CONTRAST) == [], path
        await page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_reader_s_scheme_is_followed(site: Site, visit: Visit, scheme: str) -> None:
    """Dark where dark is wanted."""
    await three(site)
    page = await (await visit(color_scheme=scheme)).open("/")
    colour = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    (red, *_) = (int(part) for part in re.findall(r"\d+", colour))
    assert (red > 128) is (scheme == "light")


@WIDTHS
async def test_a_page_without_script_is_whole(site: Site, visit: Visit, width: dict[str, int]) -> None:
    """Everything can be read and done; times are in UTC."""
    now = await three(site)
    page = await (await visit(java_script_enabled=False, viewport=width)).open("/tasks/train-3")
    await expect(page.locator("main")).to_contain_text("Azure's idle limit")
    await expect(page.locator("main")).to_contain_text(f"{now:%Y-%m-%d}")
    await expect(page.locator("main")).to_contain_text("UTC")
    await page.get_by_text("Retry…").click()
    await page.get_by_role("button", name="Run it again").click()
    await expect(page.get_by_role("status").last).to_have_text("It was queued to run.")
    assert (await site.task("train-3")).state is State.WAITING


async def test_times_are_the_reader_s_own(site: Site, visit: Visit) -> None:
    """In the reader's zone and language, exact on hover; the zone is named."""
    at = datetime(2026, 1, 15, 23, 30, 5, 123456, tzinfo=UTC)
    await site.put(scenes.run(scenes.made("old", at), at, scenes.answered(at)))
    page = await (await visit(timezone_id="Asia/Tokyo")).open("/tasks/old")
    created = page.locator("dd time[data-moment]").first
    await expect(created).to_have_text("16 Jan 2026, 08:30:05")
    title = await created.get_attribute("title") or ""
    assert "2026-01-15T23:30:05.123456Z" in title
    assert "Friday" in title
    await expect(page.locator("footer")).to_contain_text("times are GMT+9")


async def test_ages_tick(site: Site, visit: Visit) -> None:
    """Between two looks too."""
    await three(site)
    page = await (await visit()).open("/tasks/train-2")
    await page.get_by_role("button", name="Pause").click()
    age = page.locator(".now time")
    before = await age.text_content()
    await expect(age).not_to_have_text(before or "", timeout=3000)


async def test_a_new_task_comes_by_itself(site: Site, visit: Visit) -> None:
    """Without loading the page again; what has the focus keeps it, what was opened stays open, and nothing jumps."""
    now = await three(site)
    page = await (await visit(viewport={"width": 1280, "height": 300})).open("/tasks")
    await page.evaluate("window.stayed = true")
    await page.locator("#filter summary").click()
    label = page.get_by_label("Label")
    await label.fill("team:m")
    await page.get_by_role("link", name="Retry… train-3").focus()
    await page.evaluate("window.scrollTo(0, 120)")
    await site.put(scenes.made("brand-new", now))
    await expect(page.get_by_role("link", name="brand-new", exact=True)).to_be_attached(timeout=8000)
    await site.write(lifecycle.cancel(await site.task("train-2"), now))
    await expect(page.locator("#row-train-2")).to_contain_text("cancel asked for", timeout=8000)
    assert await page.evaluate("window.stayed")
    assert await page.evaluate("document.activeElement.textContent") == "Retry… train-3"
    assert await page.locator("#filter").get_attribute("open") is not None
    assert await label.input_value() == "team:m"
    assert await page.evaluate("window.scrollY") >= 120


async def test_rows_that_go_take_the_focus_nowhere(site: Site, visit: Visit) -> None:
    """A row that no longer fits the filter goes; a reader by keyboard goes on in the main part, not at the page's top."""
    now = await three(site)
    page = await (await visit()).open("/tasks?state=RUNNING")
    await page.get_by_role("link", name="Cancel… train-2").focus()
    await site.write(lifecycle.settle(await site.task("train-2"), scenes.answered(now), now, 0.5))
    await expect(page.locator("#row-train-2")).to_have_count(0, timeout=8000)
    assert await page.evaluate("document.activeElement.id") == "main"
    await expect(page.locator("main")).to_contain_text("No task matches")


async def test_a_task_is_followed_to_its_end(site: Site, visit: Visit) -> None:
    """State, title and buttons change where they are."""
    now = await three(site)
    page = await (await visit()).open("/tasks/train-2")
    await expect(page).to_have_title("RUNNING train-2 · Longcall")
    await site.write(lifecycle.settle(await site.task("train-2"), scenes.answered(now), now, 0.5))
    await expect(page).to_have_title("SUCCEEDED train-2 · Longcall", timeout=8000)
    await expect(page.get_by_text("Cancel…")).to_have_count(0)
    await expect(page.locator("#response-pretty")).to_contain_text('"ok": true')


async def tab_to(page: Page, text: str) -> None:
    """Press Tab until something with this text has the focus, and see that it shows."""
    for _ in range(60):
        await page.keyboard.press("Tab")
        if str(await page.evaluate("document.activeElement.textContent.trim()")).startswith(text):
            assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            return
    raise AssertionError(f"no Tab leads to {text}")


async def test_a_call_is_cancelled_by_keyboard(site: Site, visit: Visit) -> None:
    """From the overview, past the skip link, with a page in between that says what will happen."""
    await three(site)
    page = await (await visit()).open("/")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    await page.keyboard.press("Enter")
    await tab_to(page, "train-2")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/tasks/train-2")
    await tab_to(page, "Cancel…")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/tasks/train-2/cancel")
    await expect(page.locator("main")).to_contain_text("The target may go on working")
    await tab_to(page, "Cancel this task")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/tasks/train-2?said=cancel")
    await expect(page.locator(".done")).to_have_text("Its runner was asked to close the call.")
    assert (await site.task("train-2")).cancel_request_time is not None


async def test_what_failed_is_run_again_by_keyboard(site: Site, visit: Visit) -> None:
    """All that a filter shows, from the list."""
    await three(site)
    page = await (await visit()).open("/tasks?state=FAILED")
    await tab_to(page, "Retry…")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/tasks:retry?state=FAILED")
    await expect(page.locator("h1")).to_have_text("Retry 1 task?")
    await tab_to(page, "Retry this one")
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("1 queued to run")
    assert (await site.task("train-3")).state is State.WAITING


@pytest.mark.parametrize("site", ["tokens"], indirect=True)
async def test_a_session_from_login_to_logout(site: Site, visit: Visit) -> None:
    """A browser's own forms: the token, a retry, and the way out; each with the Origin and the CSRF token that it takes."""
    await three(site)
    page = await (await visit()).open("/tasks/train-3")
    await page.wait_for_url("**/login")
    await page.get_by_label("Token").fill(WRITE)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url(f"{site.url}/")
    await expect(page.locator(".who")).to_have_text("writer@example.com")
    await page.goto(f"{site.url}/tasks/train-3/retry")
    await page.get_by_role("button", name="Run it again").click()
    await page.wait_for_url("**/tasks/train-3?said=retry")
    assert (await site.task("train-3")).state is State.WAITING
    await page.get_by_role("button", name="Log out").click()
    await page.wait_for_url("**/login")


@pytest.mark.parametrize("site", ["tokens"], indirect=True)
async def test_an_open_page_says_that_its_session_is_over(site: Site, visit: Visit) -> None:
    """And shows what it had; a reader sees no buttons."""
    await three(site)
    visitor = await visit()
    page = await visitor.open("/login")
    await page.get_by_label("Token").fill(READ)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.locator("#live")).to_contain_text("live")
    await expect(page.locator("main")).to_contain_text("train-2")
    await expect(page.locator("a.do")).to_have_count(0)
    await visitor.context.clear_cookies()
    await expect(page.locator("#live")).to_contain_text("Logged out", timeout=8000)
    await expect(page.locator("main")).to_contain_text("train-2")
    assert [complaint for complaint in visitor.complaints if "401" not in complaint] == []
    visitor.complaints.clear()  # the browser itself notes every 401


async def test_a_server_that_is_away_is_said(site: Site, visit: Visit) -> None:
    """The page stays as it was, says so, and goes on by itself."""
    await three(site)
    visitor = await visit()
    page = await visitor.open("/")
    await visitor.context.set_offline(True)
    await expect(page.locator("#live")).to_contain_text("Out of reach", timeout=8000)
    await expect(page.locator("main")).to_contain_text("train-2")
    await visitor.context.set_offline(False)
    await expect(page.locator("#live")).to_contain_text("live", timeout=12000)
    assert [
        complaint for complaint in visitor.complaints if "ERR_INTERNET_DISCONNECTED" not in complaint and "failed:" not in complaint
    ] == []
    visitor.complaints.clear()  # the browser itself notes every failed request


async def test_nobody_is_asked_while_nobody_looks(site: Site, visit: Visit) -> None:
    """A page that is paused, and one that asks before a change, send nothing."""
    await three(site)
    page = await (await visit()).open("/")
    asked: list[str] = []
    page.on("request", lambda request: None if "/static/" in request.url else asked.append(request.url))
    await page.get_by_role("button", name="Pause").click()
    await page.wait_for_timeout(3000)
    assert asked == []
    await page.get_by_role("button", name="Go on").click()
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()
    await page.wait_for_timeout(500)
    assert asked == [f"{site.url}/"]


async def test_a_filter_s_times_are_in_the_reader_s_zone(site: Site, visit: Visit) -> None:
    """What is typed in local time is asked for in UTC, shown in local time again, and empty fields are left out of the URL."""
    page = await (await visit(timezone_id="Asia/Tokyo")).open("/tasks")
    await page.locator("#filter summary").click()
    await page.get_by_label("Created after, GMT+9").fill("2026-11-24T09:00:00")
    await page.get_by_label("Host").fill("a.example")
    await page.get_by_role("button", name="Show").click()
    await page.wait_for_url("**/tasks?*")
    assert page.url == f"{site.url}/tasks?host=a.example&createdAfter=2026-11-24T00%3A00%3A00.000Z&kind=call"
    assert await page.get_by_label("Created after, GMT+9").input_value() in {"2026-11-24T09:00:00", "2026-11-24T09:00"}


async def test_a_target_s_page_never_runs(site: Site, visit: Visit) -> None:
    """Shown it is text; opened it is a download, which no tab ever shows."""
    now = datetime.now(UTC)  # noqa: TID251 — as above
    html = b"<!doctype html><script>document.title = 'ran'; fetch('/v1/tasks')</script>"
    task = scenes.run(scenes.made("page", now), now, scenes.answered(now, body=html, kind="text/html"))
    await site.put(replace(task, response=replace(task.response, size=len(html))) if task.response else task)
    page = await (await visit()).open("/tasks/page")
    await expect(page.locator("#response-text")).to_have_text(html.decode())
    assert await page.locator("#response-text script").count() == 0
    async with page.expect_download() as download:
        await page.locator("#got").locator("..").get_by_role("link", name="Download").click()
    assert (await (await download.value).path()).read_bytes() == html
    await expect(page).to_have_title("SUCCEEDED page · Longcall")


async def test_a_script_that_got_in_would_not_run(site: Site, visit: Visit) -> None:
    """The policy is the second wall: an inline script, a handler and a foreign script that somehow stood in a page do nothing."""
    await three(site)
    visitor = await visit()
    page = await visitor.open("/")
    await page.evaluate("""() => {
      const holder = document.createElement("div");
      document.querySelector("main").append(holder);
      const script = document.createElement("script");
      script.textContent = "window.ran = 1";
      holder.append(script);
      holder.innerHTML += '<img src="x" onerror="window.ran = 2"><p style="color: red">x</p>';
      const other = document.createElement("script");
      other.src = "http://127.0.0.1:9/x.js";
      holder.append(other);
    }""")
    await page.wait_for_timeout(300)
    assert await page.evaluate("window.ran") is None
    assert any("Content Security Policy" in complaint for complaint in visitor.complaints)
    visitor.complaints.clear()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, out of npm."""
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("axe")
    if npm is None:
        missing("npm")
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "axe-core@4"]
    environment = os.environ | {"npm_config_cache": str(folder / "cache")}  # noqa: TID251 — a child needs it
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        missing(f"npm's axe-core ({done.stderr[-200:]})")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


AXE = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.map(
  (each) => `${each.impact} ${each.id}: ${each.nodes.map((node) => node.target.join(" ")).slice(0, 3).join(", ")}`)"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@WIDTHS
async def test_axe_finds_nothing(site: Site, visit: Visit, axe: str, width: dict[str, int], scheme: str) -> None:
    """Every page, with all that can be opened open: no finding, serious or not. An image without a text is one, so it does look."""
    visitor = await visit(viewport=width, color_scheme=scheme, bypass_csp=True)
    for path in await furnished(site):
        page = await visitor.open(path)
        await page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        await page.evaluate(axe)
        assert await page.evaluate(AXE) == [], path
        await page.evaluate("document.querySelector('main').append(new Image())")
        assert [found.partition(":")[0] for found in await page.evaluate(AXE)] == ["critical image-alt"]
        await page.close()


async def test_a_real_call_is_watched_and_cancelled(browser: Browser, tmp_path: Path) -> None:
    """With the whole of Longcall: a call appears and runs while the list is open, and two clicks close its connection."""
    target = Target(hanging)
    await target.start()
    async with up(tmp_path / "data") as running, await browser.new_context() as context:
        visitor = Visitor(context, Site(House(), running.api))
        page = await visitor.open("/tasks")
        await ask("POST", f"{running.api}/v1/tasks", {"id": "real", "httpRequest": {"url": target.url}})
        await expect(page.locator("#row-real")).to_contain_text("RUNNING", timeout=8000)
        await page.get_by_role("link", name="Cancel… real").click()
        await page.get_by_role("button", name="Cancel this task").click()
        await expect(page).to_have_title("CANCELLED real · Longcall", timeout=8000)
        assert visitor.complaints == []
        assert (await ask("GET", f"{running.api}/v1/tasks/real"))["attempts"][0]["outcome"] == "cancelled"
        await asyncio.wait_for(target.quiet(), 5)
    await target.stop()


@WIDTHS
async def test_a_list_is_narrowed_by_clicks(site: Site, visit: Visit, width: dict[str, int]) -> None:
    """By a state, and by the form's label beside it; what does not match is not there, and the way back shows all."""
    await three(site)
    page = await (await visit(viewport=width)).open("/tasks")
    rows = page.locator("[id^=row-]")
    await expect(rows).to_have_count(3)
    await page.get_by_role("link", name="FAILED", exact=True).click()
    await page.wait_for_url("**/tasks?*state=FAILED*")
    await expect(rows).to_have_count(1)
    await expect(page.locator("#row-train-3")).to_be_visible()
    await page.get_by_role("link", name="All", exact=True).click()
    await page.locator("#filter summary").click()
    await page.get_by_label("Label").fill("team:ml")
    await page.get_by_role("button", name="Show").click()
    await page.wait_for_url("**/tasks?*label=team*")
    await expect(rows).to_have_count(2)
    await expect(page.locator("#row-train-3")).to_have_count(0)
