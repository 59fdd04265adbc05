"""Make what of the pages is made from the code, and from what benches measured: `make fix` runs it, and a test holds the pages to it.

A page has its blocks between `<!-- made from NAME -->` and `<!-- end -->`; everything else in it is written by hand.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from made_from import benchmarks, commands, events, http_api, lifecycle, metrics, sdk, settings

DOCS = Path(__file__).parent
BLOCK = re.compile(r"(<!-- made from (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
BLOCKS = {
    "benchmarks": benchmarks.benchmarks,
    "commands": commands.commands,
    "events": events.events,
    "operations": http_api.operations,
    "bodies": http_api.bodies,
    "lifecycle": lifecycle.rows,
    "metrics": metrics.metrics,
    "sdk": sdk.sdk,
    "settings": settings.settings,
}


def made() -> Iterator[tuple[Path, str]]:
    """Each page with blocks, as it should stand, and the picture."""
    yield DOCS / "lifecycle.svg", lifecycle.picture()
    for page in sorted(DOCS.glob("*.md")):
        if BLOCK.search(text := page.read_text()):
            yield page, BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n\n{found[3]}", text)


def main() -> int:
    """Write them; with `--check` only name those that are not as they should be."""
    checking = "--check" in sys.argv[1:]
    stale = [(page, text) for page, text in made() if not page.exists() or page.read_text() != text]
    for page, text in stale:
        sys.stdout.write(f"{page.name} {'is not' if checking else 'made'} as the code says\n")
        if not checking:
            page.write_text(text)
    return 1 if checking and stale else 0


if __name__ == "__main__":
    sys.exit(main())
