"""`longcall completion`: shells complete commands and options."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run

# What bash does at TAB: it fills COMP_WORDS, calls the function that `complete` names for the command, and reads COMPREPLY.
AT_TAB = """
longcall() {{ {python} -m longcall "$@"; }}
eval "$(longcall completion bash)"
complete -p longcall
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_longcall_completion {command}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "offered"),
    [("longcall re", {"retry", "requeue"}), ("longcall retry --st", {"--state"}), ("longcall completion nothing", {""})],
)
def test_bash_completes(tmp_path: Path, words: str, offered: set[str]) -> None:
    """A real bash takes the script, and offers what may follow."""
    command = tmp_path / "longcall"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m longcall "$@"\n')
    command.chmod(0o755)
    script = AT_TAB.format(python=sys.executable, words=words, command=command)
    shown = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, env=dict(os.environ))  # noqa: S607, TID251 — the bash and the environment of whoever tests
    first, *rest = shown.stdout.split("\n")[:-1]
    assert first == "complete -o default -F _longcall_completion longcall"
    assert (set(rest), shown.stderr) == (offered, "")


@pytest.mark.parametrize(
    ("shell", "asked"),
    [
        ("zsh", {"_TYPER_COMPLETE_ARGS": "longcall req"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "longcall req", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
async def test_the_questions_of_other_shells_are_answered(longcall: Run, shell: str, asked: dict[str, str]) -> None:
    """The variables that the script sets are those that are read."""
    script = await longcall("completion", shell)
    assert (script.code, script.err) == (0, "")
    assert f"_LONGCALL_COMPLETE=complete_{shell}" in script.out
    assert all(name in script.out for name in asked)
    offered = await longcall(_LONGCALL_COMPLETE=f"complete_{shell}", **asked)
    assert (offered.code, "requeue" in offered.out, "retry" in offered.out) == (0, True, False)


async def test_another_shell_is_exit_code_2(longcall: Run) -> None:
    """One sentence, with those that are known; help has no options of Typer's own."""
    refused = await longcall("completion", "tcsh")
    assert (refused.code, refused.out, "'bash', 'zsh', 'fish'" in refused.err) == (2, "", True)
    assert "completion" not in (await longcall("--help")).out.partition("Commands:")[0]
