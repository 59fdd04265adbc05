"""The program `longcall`: every command, and how a wrong command line is answered."""

import inspect
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer
import typer.core
import typer.main
from typer.completion import get_completion_inspect_parameters

from longcall import __version__
from longcall.cli import changes, examples, serving, tasks
from longcall.cli.completion import completion
from longcall.cli.demo import demo
from longcall.cli.doctor import doctor
from longcall.cli.embedded import queue
from longcall.cli.ends import FAILED, OUT_OF_REACH, USAGE, say
from longcall.cli.keys import keygen
from longcall.cli.logs import logs
from longcall.cli.migrate import migrate
from longcall.cli.up import up
from longcall.cli.watch import watch

CODES = "0 fine, 1 failed or cancelled, 2 usage, 3 out of reach or not allowed, 4 still running, 5 no such task, 130 Ctrl-C"
HELP = ["-h", "--help"]
COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "On this machine": {
        "up": up,
        "demo": demo,
        "runner": serving.runner,
        "queue": queue,
        "keygen": keygen,
        "migrate": migrate,
        "doctor": doctor,
        "completion": completion,
    },
    "Tasks": {
        "submit": tasks.submit,
        "status": tasks.status,
        "wait": tasks.wait,
        "logs": logs,
        "list": tasks.list_tasks,
        "watch": watch,
        "cancel": changes.cancel,
        "retry": changes.retry,
        "requeue": changes.requeue,
    },
}


def main() -> None:
    """Run one command, and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code. A wrong one is answered with one sentence."""
    try:
        code = build()(arguments, prog_name="longcall", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        say(_sentence(error), "red")
        return USAGE
    except BrokenPipeError:  # whoever reads has enough
        _stop_writing()
        return FAILED
    except OSError as error:
        _stop_writing()
        say(f"the output can't be written: {error.strerror or error}", "red")
        return OUT_OF_REACH
    return code if isinstance(code, int) else 0


def build() -> typer.core.TyperGroup:
    """The commands. Help has colours and frames on a terminal, and is plain text for a pipe."""
    rich = sys.stdout.isatty()
    app = typer.Typer(
        name="longcall",
        help="HTTP calls that take minutes to a day, never lost track of.",
        epilog=f"`longcall COMMAND --help` has an example of each.\n\nExit codes: {CODES}.",
        rich_markup_mode="rich" if rich else None,
        context_settings={"help_option_names": HELP},
        invoke_without_command=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    get_completion_inspect_parameters()  # lets Typer answer `longcall completion`'s scripts, without its two options in our help
    app.callback()(_program)
    for panel, commands in COMMANDS.items():
        for name, command in commands.items():
            app.command(name, help=_paragraphs(command), epilog=examples.shown(name, rich=rich), rich_help_panel=panel)(command)
    program = typer.main.get_command(app)
    assert isinstance(program, typer.core.TyperGroup)  # noqa: S101 — an app of several commands
    for each in (program, *program.commands.values()):
        for option in each.get_params(typer.Context(each, help_option_names=HELP)):
            if isinstance(option, typer.core.TyperOption) and option.is_flag:
                option.metavar = ""  # else it would say <bool>, as if it took a value
    return program


def _paragraphs(command: Callable[..., None]) -> str:
    """A docstring whose lines are as long as the terminal is wide, not as the source."""
    return "\n\n".join(" ".join(each.split()) for each in (inspect.getdoc(command) or "").split("\n\n"))


def _show_version(asked: bool) -> None:  # noqa: FBT001 — how typer calls an option
    if asked:
        sys.stdout.write(f"longcall {__version__}\n")
        raise typer.Exit


def _program(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")] = False,  # noqa: ARG001 — its callback answers it
) -> None:
    if context.invoked_subcommand is None:
        sys.stdout.write(f"{context.get_help()}\n")


def _stop_writing() -> None:
    """Python writes what is left when it ends, and would complain again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _sentence(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    where = context.command_path if context else "longcall"
    message = error.format_message().rstrip(".")
    return f"{message}{' See' if message.endswith('?') else '; see'} `{where} --help`"
