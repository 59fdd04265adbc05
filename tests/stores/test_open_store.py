"""A store by its URL."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from longcall.core.errors import CallerMistake
from longcall.stores import open_store

START = datetime(2026, 11, 24, 8, tzinfo=UTC)


@pytest.mark.parametrize("url", ["memory://", "sqlite:///longcall.db", "sqlite:////{folder}/longcall.db"])
async def test_a_known_url_opens_a_store(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory, a file beside the process and a file anywhere; the file is where the URL says."""
    monkeypatch.chdir(tmp_path)
    async with open_store(url.format(folder=tmp_path), lambda: START) as store:
        await store.ping()
    assert (tmp_path / "longcall.db").exists() == url.startswith("sqlite")


@pytest.mark.parametrize("url", ["", "longcall.db", "sqlite://", "sqlite:///", "sqlite://longcall.db", "memory://x", "mysql://x/y"])
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
    """Importing the room loads neither sqlite3 nor asyncpg nor obstore."""
    code = "import sys, longcall.stores; sys.exit(bool({'sqlite3', 'asyncpg', 'obstore'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
