"""What can be used is written down, and what is written down holds."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped] # it ships none

from longcall.cli.main import build
from longcall.settings import CLIENT, FACTS, PREFIX, Settings
from longcall.web.schema import Reader
from tests.deploy.test_gcloud_commands import written
from tests.snippets import PAGES, ROLES, ROOT, Snippet, snippets

DOCS = ROOT / "docs"
SETTINGS = (DOCS / "settings.md").read_text()
COMMANDS = (DOCS / "commands.md").read_text()
HTTP_API = (DOCS / "http-api.md").read_text()


def test_what_is_made_from_the_code_is_as_the_code_says() -> None:
    """Settings, commands, the HTTP API, the SDK, events, metrics, the lifecycle: `make fix` makes them anew."""
    checked = subprocess.run([sys.executable, DOCS / "make.py", "--check"], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr


def commands() -> list[str]:
    """Every command of the command line."""
    return sorted(build().commands)


@pytest.mark.parametrize("name", commands())
def test_every_command_is_documented(name: str) -> None:
    """Its page has a chapter for each command."""
    assert f"\n## longcall {name}\n" in COMMANDS


VARIABLES = [*(FACTS.get(field, PREFIX + field.upper()) for field in Settings.__slots__), *(PREFIX + name for name in sorted(CLIENT))]


@pytest.mark.parametrize("name", VARIABLES)
def test_every_setting_is_documented(name: str) -> None:
    """Its page has each setting, and each variable of others that we look at."""
    assert f"| `{name}` |" in SETTINGS


@pytest.mark.parametrize("setting", sorted({name for page in PAGES for name in re.findall(rf"\b{PREFIX}([A-Z_]+)\b", page.read_text())}))
def test_every_documented_setting_exists(setting: str) -> None:
    """No page speaks of a setting that is not there."""
    assert setting.lower() in Settings.__slots__ or setting in CLIENT


ROUTES = (
    "/v1/tasks",
    "/v1/tasks/{id}",
    "/v1/tasks/{id}/events",
    "/v1/events",
    "/v1/tasks/{id}/response",
    "/v1/tasks/{id}:cancel",
    "/v1/tasks/{id}:retry",
    "/v1/tasks:requeue",
    "/v1/stats",
    "/v1/runners",
    "/",
    "/tasks",
    "/tasks/{id}",
    "/tasks/{id}/request",
    "/tasks/{id}/cancel",
    "/tasks/{id}/retry",
    "/tasks:cancel",
    "/tasks:retry",
    "/static/{name}",
    "/dispatch",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/login",
)


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_is_documented(route: str) -> None:
    """The page of the HTTP API has each route."""
    assert f"{route}`" in HTTP_API


def test_every_make_target_explains_itself() -> None:
    """`make help` says what there is."""
    assert phony() == set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def phony() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split())


def named(page: Path) -> str:
    """A page's path, as tests are called by it."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A relative link in a page is a file that is there, and its `#…` a heading of that page."""
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if "://" not in link]
    wrong = []
    for link in links:
        path, _, heading = link.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (heading and heading not in headings(file)):
            wrong.append(link)
    assert not wrong


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


SNIPPETS = [snippet for page in PAGES for snippet in snippets(page)]


def test_every_snippet_is_found() -> None:
    """As many as there are fences, less those that are made from the code."""
    written_by_hand = [re.sub(r"<!-- made from .*?<!-- end -->", "", page.read_text(), flags=re.DOTALL) for page in PAGES]
    assert len(SNIPPETS) * 2 == sum(len(re.findall(r"^ *```", text, re.MULTILINE)) for text in written_by_hand)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.place)
def test_every_snippet_is_what_it_says(snippet: Snippet) -> None:
    """It has a role, and is looked at by it. What is run is run in end_to_end/test_pages.py, gcloud's parser in deploy/."""
    assert snippet.role in ROLES, "say what it is, in a comment above it: tests/snippets.py has the roles"
    if snippet.language == "python":
        compile(snippet.text, snippet.place, "exec")
    if snippet.language == "sh":
        checked = subprocess.run(["bash", "-n"], input=snippet.text, capture_output=True, text=True, check=False)  # noqa: S607 — any bash
        assert checked.returncode == 0, checked.stderr
    match snippet.role:
        case "gcloud":
            assert written(f"```sh\n{snippet.text}```\n")
        case "make":
            assert set(re.findall(r"^make (\w+)", snippet.text, re.MULTILINE)) <= phony()
        case "made" if snippet.language == "json":
            readable(json.loads(snippet.text))
        case "made":
            assert list(yaml.safe_load_all(snippet.text))
        case "other":
            assert snippet.words, "say why it is not run"
        case _:  # run, stays, file, shows
            pass


def readable(data: object) -> None:
    """A task that is shown is one that the API takes."""
    Reader(frozenset({"default"})).task(data, datetime(2026, 11, 20, tzinfo=UTC))


class Fetched(HTMLParser):
    """What a browser fetches for a page by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of scripts, styles, pictures, fonts; not of links that people follow."""
        given = dict(attrs)
        self.urls += [given[name] or "" for name in ("src", "srcset", "poster") if name in given]
        if tag == "link":
            self.urls.append(given.get("href") or "")


def test_the_site_is_whole_and_needs_no_network(tmp_path: Path) -> None:
    """`make docs` with every warning an error: no broken link, no page outside of the contents, nothing fetched from elsewhere."""
    options = ("-q", "-W", "--keep-going", "-b", "html", "-d", tmp_path / "doctrees")
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, DOCS, tmp_path / "site"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert built.returncode == 0, built.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= len(list(DOCS.rglob("*.md")))
    for page in pages:
        fetched = Fetched()
        fetched.feed(page.read_text())
        assert not [url for url in fetched.urls if re.match(r"(?:[a-z]+:)?//", url)], page
    for style in (tmp_path / "site").rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text()), style


def test_the_picture_of_the_lifecycle_fetches_nothing() -> None:
    """It is drawn with what every machine has."""
    assert not re.findall(r"(?:href|src|url)\s*[=(]\s*[\"']?https?:", (DOCS / "lifecycle.svg").read_text())
