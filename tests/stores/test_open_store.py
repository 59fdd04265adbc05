"""A store by its URL."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from longcall.core.errors import CallerMistake, UnavailableError
from longcall.stores import open_store

START = datetime(2026, 11, 24, 8, tzinfo=UTC)


@pytest.mark.parametrize("url", ["memory://", "sqlite:///longcall.db", "sqlite:////{folder}/longcall.db"])
async def test_a_known_url_opens_a_store(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory, a file beside the process and a file anywhere; the file is where the URL says."""
    monkeypatch.chdir(tmp_path)
    async with open_store(url.format(folder=tmp_path), lambda: START) as store:
        await store.ping()
    assert (tmp_path / "longcall.db").exists() == url.startswith("sqlite")


WRONG_FIRESTORES = ["", "/", "project/", "Project", "project/x", "project/a/b", "project/Default", "p", "project/(other)"]


@pytest.mark.parametrize(
    "url",
    [
        *("", "longcall.db", "sqlite://", "sqlite:///", "sqlite://longcall.db", "memory://x", "mysql://x/y"),
        *(f"firestore://{rest}" for rest in WRONG_FIRESTORES),
    ],
)
def test_any_other_url_is_refused(url: str) -> None:
    """The error names what was given and what is known."""
    with pytest.raises(CallerMistake) as caught:
        open_store(url, lambda: START)
    assert repr(url) in str(caught.value)
    assert "sqlite:///relative.db" in str(caught.value)


def test_a_refused_url_is_repeated_without_its_password() -> None:
    """A slip in the scheme must not put the password into a log."""
    with pytest.raises(CallerMistake, match=r"'postgresq://…@127\.0\.0\.1/db' names no store") as caught:
        open_store("postgresq://user:correct@horse@127.0.0.1/db", lambda: START)
    assert "horse" not in str(caught.value)


def test_a_store_that_is_not_used_is_not_loaded() -> None:
    """Importing the room loads neither sqlite3 nor asyncpg nor obstore nor Google's client."""
    code = "import sys, longcall.stores; sys.exit(bool({'sqlite3', 'asyncpg', 'obstore', 'google', 'grpc'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("rest", "project", "database"),
    [
        ("my-project", "my-project", "(default)"),
        ("my-project/(default)", "my-project", "(default)"),
        ("x.org:my-project/tasks", "x.org:my-project", "tasks"),
    ],
)
async def test_a_firestore_is_named_by_project_and_database(
    rest: str, project: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is (default) when left out. Opening sends nothing, and what fails later says where."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1")  # nobody listens there
    async with open_store(f"firestore://{rest}", lambda: START) as store:
        with pytest.raises(UnavailableError) as caught:
            await store.ping()
    assert str(caught.value).startswith(f"Firestore database {database} of project {project} is out of reach: UNAVAILABLE")


async def test_a_firestore_without_credentials_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off Google Cloud, without an emulator and without credentials: one sentence that names the database and what is missing."""
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(UnavailableError, match=r"Firestore database tasks of project my-project needs Google credentials: .*none\.json"):
        async with open_store("firestore://my-project/tasks", lambda: START):
            pass


def test_a_firestore_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Google's client is not installed, the sentence is how to install it."""
    for module in [name for name in sys.modules if name.startswith("longcall.stores.firestore")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "google.cloud.firestore_v1.async_client", None)
    with pytest.raises(CallerMistake) as caught:
        open_store("firestore://my-project", lambda: START)
    assert "pip install 'longcall[firestore]'" in str(caught.value)
