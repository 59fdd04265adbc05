"""The snippets of the pages, and what each of them is.

A comment above a snippet says it, and a word may follow:

- `run`: it ends by itself, with code 0 or the `exit=` that is said. A page's are run in order, in one folder, beside `longcall up`.
- `stays`: a server, started and left running until the page's end; its ports are those that it names.
- `file NAME`: a file of that folder, before what follows is run.
- `shows`: what the snippet before prints; `…` stands for anything.
- `gcloud`: commands for gcloud's own parser, which reads them all in tests/deploy.
- `made`: an excerpt of JSON, YAML or INI that is parsed.
- `make`: targets of the Makefile.
- `other WHY`: of something that is not here, or not to be started; Python is compiled, a script's syntax is checked.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
ROLES = ("run", "stays", "file", "shows", "gcloud", "made", "make", "other")
ACTED = {"run", "stays", "file", "shows"}
_MADE = re.compile(r"<!-- made from .*?<!-- end -->", re.DOTALL)
_FENCE = re.compile(r"^(?:<!-- snippet: ([a-z]+) ?([^\n]*?) ?-->\n\n?)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Snippet:
    """One code block of a page; without a role nobody said what it is."""

    page: Path
    line: int
    role: str
    words: str
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets(page: Path) -> list[Snippet]:
    """The code blocks of a page that people wrote; what is made from the code is left out."""
    text = _MADE.sub(lambda made: "\n" * made[0].count("\n"), page.read_text())
    return [
        Snippet(page, text.count("\n", 0, found.start(3)) + 1, *(each or "" for each in found.groups())) for found in _FENCE.finditer(text)
    ]
