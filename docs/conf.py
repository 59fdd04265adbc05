"""How Sphinx makes a site of these pages: `make docs`. Nothing in it comes from anywhere else when it is read."""

import re
from pathlib import Path

from sphinx.application import Sphinx

from longcall import __version__

project = "Longcall"
author = "The Longcall authors"
version = release = __version__

extensions = ["myst_parser"]
exclude_patterns = ["made_from"]
nitpicky = True
smartquotes = False  # `--wait` is two hyphens
highlight_language = "none"  # of blocks that are only indented
myst_heading_anchors = 4  # as code hosts make them, so that a link works in both places

html_theme = "furo"
html_title = "Longcall"
html_favicon = "../src/longcall/web/static/icon.svg"
html_static_path = ["longcall.css"]
html_css_files = ["longcall.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}

DOCS = Path(__file__).parent
LINK = re.compile(r"\]\((\.\.?/[^)#]*\.md)\)")


def setup(app: Sphinx) -> None:
    """Let the pages be plain Markdown, which code hosts show too: what only Sphinx wants is added while it reads."""
    app.connect("source-read", _read)


def _read(_: Sphinx, name: str, source: list[str]) -> None:
    folder = (DOCS / name).parent
    source[0] = LINK.sub(lambda found: found[0] if _is_page(folder / found[1]) else f"](path:{found[1]})", source[0])
    if name == "index":
        source[0] += _trees(source[0])


def _is_page(path: Path) -> bool:
    """Whether a link leads to a page; a Markdown file from elsewhere in the repository is a file to look at."""
    return path.resolve().is_relative_to(DOCS)


def _trees(index: str) -> str:
    """The chapters of the index, as Sphinx wants them."""
    chapters = re.findall(r"^## (.*)\n((?:\n|[^#].*\n?)*)", index, re.MULTILINE)
    return "".join(_tree(caption, re.findall(r"^- \[[^]]*\]\((.*?)\.md\)", text, re.MULTILINE)) for caption, text in chapters)


def _tree(caption: str, pages: list[str]) -> str:
    return "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""])
