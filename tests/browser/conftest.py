"""A real browser, and the dashboard for it to look at."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Request, async_playwright

from longcall.core.task import Task
from longcall.engine.ports import Runner
from longcall.outbound.clock import SystemClock
from longcall.web import server
from tests.conftest import IN_CI
from tests.engine.house import House
from tests.web.stand import edge

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium as it is installed: nothing is downloaded."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        missing = "no Chromium on PATH, so nobody looks at the dashboard in a browser"
        pytest.fail(missing) if IN_CI else pytest.skip(missing)
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        await chromium.close()


@dataclass
class Site:
    """The dashboard of a house on a real socket."""

    house: House
    url: str

    async def put(self, *tasks: Task) -> None:
        """Have these tasks there."""
        for task in tasks:
            assert await self.house.store.insert(task)

    async def task(self, task_id: str) -> Task:
        """The record as it stands."""
        return await self.house.task(task_id)

    async def write(self, task: Task) -> None:
        """Write a record's next version."""
        assert await self.house.store.replace(task, (await self.house.stored(task.id)).tag)


@pytest_asyncio.fixture(loop_scope="module")
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """An empty one; with the parameter `tokens` one that asks for them."""
    house = House(clock=SystemClock())  # type: ignore[arg-type] # the browser has its own clock, so here it is the real one
    now = house.clock.now()
    await house.store.beat(Runner("r-0123456789ab", now, now))
    with server.listen("127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        app = await edge(house, tokens=getattr(request, "param", "") == "tokens", url=url)
        async with server.serve(app, listening):
            yield Site(house, url)


@dataclass
class Visitor:
    """Somebody with a browser, and everything that it complained about."""

    context: BrowserContext
    site: Site
    complaints: list[str] = field(default_factory=list)

    async def open(self, path: str) -> Page:
        """A page in a window of its own."""
        page = await self.context.new_page()
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("requestfailed", self._note_failed)
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        await page.goto(f"{self.site.url}{path}")
        return page

    def _note_failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # whoever goes on to another page waits no longer for this one's icon
            self.complaints.append(f"failed: {request.url}")


@pytest_asyncio.fixture(loop_scope="module")
async def visit(browser: Browser, site: Site) -> AsyncIterator[Callable[..., Awaitable[Visitor]]]:
    """Give somebody a browser, of the kind that Playwright's options say. Nothing may be on its console at the end."""
    visitors: list[Visitor] = []

    async def arrive(**options: Any) -> Visitor:  # noqa: ANN401 — as Playwright has them
        context = await browser.new_context(**({"timezone_id": "Europe/Berlin", "locale": "en-GB"} | options))
        context.set_default_timeout(10_000)
        visitors.append(Visitor(context, site))
        return visitors[-1]

    yield arrive
    for visitor in visitors:
        await visitor.context.close()
    assert [complaint for visitor in visitors for complaint in visitor.complaints] == []
