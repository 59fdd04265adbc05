"""What can be used is written down, and what is written down holds."""

import importlib.util
import re
from pathlib import Path

import pytest

from longcall.cli.main import build
from longcall.settings import CLIENT, FACTS, PREFIX, Settings

ROOT = Path(__file__).parent.parent
REFERENCE = (ROOT / "docs" / "reference.md").read_text()


def commands() -> list[str]:
    """Every command of the command line."""
    return sorted(build().commands)


@pytest.mark.parametrize("name", commands())
def test_every_command_is_documented(name: str) -> None:
    """The reference has each command."""
    assert f"longcall {name}" in REFERENCE


VARIABLES = [*(FACTS.get(field, PREFIX + field.upper()) for field in Settings.__slots__), *(PREFIX + name for name in sorted(CLIENT))]


@pytest.mark.parametrize("name", VARIABLES)
def test_every_setting_is_documented(name: str) -> None:
    """The reference has each setting, and each variable of others that we look at."""
    assert f"`{name}`" in REFERENCE


@pytest.mark.parametrize("setting", sorted(set(re.findall(rf"`{PREFIX}([A-Z_]+)`", REFERENCE))))
def test_every_documented_setting_exists(setting: str) -> None:
    """The reference has no setting that is not there."""
    assert setting.lower() in Settings.__slots__ or setting in CLIENT


ROUTES = (
    "/v1/tasks",
    "/v1/tasks/{id}",
    "/v1/tasks/{id}/events",
    "/v1/events",
    "/v1/tasks/{id}/response",
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
    """The reference has each route."""
    assert f"{route}`" in REFERENCE


def test_every_make_target_explains_itself() -> None:
    """`make help` says what there is."""
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split())
    explained = set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))
    assert named == explained


PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """A relative link in a page is a file that is there."""
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()) if "://" not in link]
    assert not [link for link in links if not (page.parent / link).exists()]


def python_of(page: str) -> list[str]:
    """The Python snippets of a page."""
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_snippet_is_python(page: Path) -> None:
    """What is shown can be pasted; end_to_end/test_readme.py runs what README shows."""
    for snippet in python_of(page.read_text()):
        compile(snippet, str(page), "exec")


def test_the_lifecycle_page_is_current() -> None:
    """It is made from the table; `make fix` makes it anew."""
    spec = importlib.util.spec_from_file_location("make", ROOT / "docs" / "make.py")
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    assert make.PAGE.read_text() == make.page()
