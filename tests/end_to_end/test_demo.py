import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.end_to_end.program import environment


@pytest.mark.timeout(90)
def test_the_demo_shows_what_it_says(tmp_path: Path) -> None:
    """`longcall demo` ends with 0 and every step held, leaves nothing behind, and stays under 30 s."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "longcall", "demo"], capture_output=True, text=True, cwd=tmp_path, env=environment(), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 of 10 held." in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []
    assert time.monotonic() - start < 30, "the demo promises under 30 s"
