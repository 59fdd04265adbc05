"""Every command with its help and its options, from the command line itself."""

import textwrap
from contextlib import redirect_stdout
from io import StringIO

import typer.main

from longcall.cli.main import build
from made_from.markdown import table


def commands() -> str:
    """A chapter for each command, in the order of `longcall --help`."""
    with redirect_stdout(StringIO()):  # for a pipe: on a terminal, help is marked up
        built = build()
    program = built if hasattr(built, "commands") else typer.main.get_command(built)
    with program.make_context("longcall", [], resilient_parsing=True) as top:
        found = getattr(program, "commands", {})
        return "\n\n".join(_chapter(name, command, top) for name, command in found.items() if not command.hidden)


def _chapter(name, command, top) -> str:  # noqa: ANN001 — Typer brings its own Click, which has no public names
    context = type(top)(command, info_name=name, parent=top)
    usage = " ".join(command.collect_usage_pieces(context))
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    shown = [(f"`{' '.join(left.split())}`", right) for left, right in filter(None, records) if "--help" not in left]
    parts = [f"## longcall {name}", *_text(command.help), f"```text\nlongcall {name} {usage}\n```"]
    parts += [table(("option", "does"), shown)] if shown else []
    return "\n\n".join([*parts, *_text(command.epilog)])


def _text(written: str | None) -> list[str]:
    """Paragraphs; one that Click is told not to wrap is an example, with a line above that says so."""
    return [_example(part) if part.startswith("\b") else _line(part) for part in (written or "").split("\n\n") if part.strip()]


def _example(part: str) -> str:
    said, _, lines = part.removeprefix("\b").strip().partition("\n")
    return f"{said}\n\n```sh\n{textwrap.dedent(lines)}\n```"


def _line(part: str) -> str:
    """One paragraph in a line; `<` outside of backticks is no tag."""
    words = " ".join(part.split()).split("`")
    return "`".join(word if index % 2 else word.replace("<", "&lt;") for index, word in enumerate(words))
