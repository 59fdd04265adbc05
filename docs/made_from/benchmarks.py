"""The tables of the benches, from the JSON that they wrote."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from page import tables


def benchmarks() -> str:
    """All of them."""
    return tables()
