"""What `--help` shows: each command with what it does, what its options mean, and an example that can be pasted."""

import re
import shlex
import subprocess
import sys

import pytest
import typer

from longcall.cli.main import build, run

NAMES = sorted(build().commands)
SHELL = {">", "|", "&&", ";"}  # what follows is the shell's


def helped(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The help of a command."""
    assert run([name, "--help"]) == 0
    return capsys.readouterr().out


def examples(text: str) -> list[list[str]]:
    """The arguments of each example in a help text."""
    _, _, below = text.partition("\n  Example:\n")
    found = []
    for line in below.splitlines():
        words = shlex.split(line)
        while "=" in words[0]:  # a setting before the program
            words.pop(0)
        assert words.pop(0) == "longcall"
        found.append([*words[: next((at for at, word in enumerate(words) if word in SHELL), len(words))]])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence on the command, one on each option, none cut short."""
    text = helped(name, capsys)
    command = build().commands[name]
    assert (command.help or "").partition("\n\n")[0].endswith(".")
    assert len((command.help or "").partition("\n\n")[0]) <= 64  # the list of commands has it on one line
    for option in command.get_params(typer.Context(command)):
        assert isinstance(option, typer.core.TyperOption | typer.core.TyperArgument)
        assert (option.help or "").endswith((".", ")"))
        assert option.opts[-1] in text or (option.metavar or "") in text
    assert "…" not in text
    assert "<bool>" not in text


@pytest.mark.parametrize("name", NAMES)
def test_every_example_is_understood(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """There is at least one of each command, and the parser takes it as it stands."""
    shown = examples(helped(name, capsys))
    assert shown
    for command_name, *arguments in shown:
        assert command_name == name
        command = build().commands[name]
        with command.make_context(name, arguments) as context:
            assert context.args == []


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["", *NAMES])
def test_help_fits_its_terminal(name: str, width: int) -> None:
    """No line is wider than the terminal, no example is broken, nothing is cut short."""
    program = f"import sys; sys.stdout.isatty = lambda: True; from longcall.cli.main import run; run({[*name.split(), '-h']!r})"
    environment = {"COLUMNS": str(width), "PYTHONPATH": ":".join(sys.path), "PYTHONIOENCODING": "utf-8", "TERM": "xterm"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, encoding="utf-8", check=True)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).splitlines()
    assert "╭" in done.stdout
    assert max(len(line) for line in lines) <= width
    assert "…" not in done.stdout
    wanted = (build().commands[name].epilog or "").splitlines()[2:] if name else []
    below = lines[lines.index(next(line for line in lines if "Example:" in line)) + 1 :] if name else []
    assert [line.strip() for line in below if line.strip()] == [line.strip() for line in wanted]
