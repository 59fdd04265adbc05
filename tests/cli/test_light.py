"""The commands of the light install: no server's parts, no queue's parts."""

import subprocess
import sys

import pytest

PARTS = ["aiohttp", "fastapi", "google", "grpc", "obstore", "starlette", "structlog", "uvicorn", "uvloop"]
WITHOUT = """
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {parts!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Gone())
from longcall.cli.main import run
sys.exit(run({arguments!r}))
"""


def light(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a Python that has none of the parts."""
    program = WITHOUT.format(parts=PARTS, arguments=list(arguments))
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_help_needs_no_parts() -> None:
    """All commands are shown."""
    shown = light("--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "submit" in shown.stdout


@pytest.mark.parametrize(
    "command",
    [("list",), ("submit", "http://a", "--wait"), ("retry", "x", "--wait"), ("watch",), ("logs", "x"), ("retry", "--label", "a=b")],
)
def test_client_commands_need_no_parts(command: tuple[str, ...]) -> None:
    """They come as far as the server, which is not there."""
    ended = light(*command, "--url", "http://127.0.0.1:9")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert "nothing answers at http://127.0.0.1:9" in ended.stderr


@pytest.mark.parametrize(("command", "parts"), [("up", "all"), ("demo", "all"), ("doctor", "all"), ("queue", "queue")])
def test_server_commands_say_what_is_missing(command: str, parts: str) -> None:
    """One sentence with the way to install it, and exit code 2."""
    ended = light(command)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"pip install 'longcall[{parts}]'" in ended.stderr
