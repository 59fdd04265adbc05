"""What pip and uv make of the project, in fresh environments. Needs a package index."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import IN_CI
from tests.end_to_end.program import environment

ROOT = Path(__file__).parent.parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


GIT = shutil.which("git") or "git"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=cwd, env=environment(), check=False)


def must(*command: str | Path, cwd: Path) -> str:
    """Run a command that needs the index: without it a laptop skips, CI fails."""
    done = run(*command, cwd=cwd)
    if (
        done.returncode
        and not IN_CI
        and any(sign in done.stderr for sign in ("NewConnectionError", "Could not fetch", "error sending request"))
    ):
        pytest.skip(f"no package index in reach: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The project as git has it, with what is not committed yet."""
    files = run(GIT, "ls-files", "-co", "--exclude-standard", cwd=ROOT).stdout.split()
    for name in files:
        if (ROOT / name).is_file():
            (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / "clone" / name)
    return tmp_path / "clone"


def test_pip_install_is_light_and_all_is_whole(clone: Path, tmp_path: Path) -> None:
    """`pip install .` brings the SDK and the client commands and nothing of the server; `.[all]` runs the demo."""
    must(sys.executable, "-m", "venv", "fresh", cwd=tmp_path)
    binaries = tmp_path / "fresh" / "bin"
    must(binaries / "pip", "install", "--quiet", clone, cwd=tmp_path)
    light = {line.partition("==")[0].lower() for line in must(binaries / "pip", "freeze", cwd=tmp_path).split()}
    assert not light & {"aiohttp", "fastapi", "grpcio", "starlette", "uvicorn", "google-cloud-tasks", "obstore"}
    assert "submit" in must(binaries / "longcall", "--help", cwd=tmp_path)
    must(
        binaries / "python",
        "-W",
        "error",
        "-c",
        "from longcall import Longcall, RetryPolicy, TaskFailed, WaitTimeout; Longcall()",
        cwd=tmp_path,
    )
    for command in ("up", "demo"):
        told = run(binaries / "longcall", command, cwd=tmp_path)
        assert (told.returncode, "pip install 'longcall[all]'" in told.stderr, "Traceback" in told.stderr) == (2, True, False), told.stderr
    must(binaries / "pip", "install", "--quiet", f"{clone}[all]", cwd=tmp_path)
    assert "10 of 10 held." in must(binaries / "longcall", "demo", cwd=tmp_path)


def test_uv_run_needs_nothing_more(clone: Path) -> None:
    """`uv run longcall demo` in a fresh clone."""
    uv = Path(sys.executable).parent / ("uv.exe" if os.name == "nt" else "uv")
    assert "10 of 10 held." in must(uv, "run", "--quiet", "--python", sys.executable, "longcall", "demo", cwd=clone)


def test_make_demo_sets_itself_up(clone: Path) -> None:
    """`make demo` in a fresh clone with python3 and make alone: from the hashed lock."""
    assert "10 of 10 held." in must("make", "demo", f"PYTHON={sys.executable}", cwd=clone)
