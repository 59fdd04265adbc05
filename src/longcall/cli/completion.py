"""`longcall completion`: the script by which a shell asks `longcall` itself what may follow. Typer answers, by its own protocol."""

import sys
from typing import Annotated, Literal

import typer

_SCRIPTS = {
    "bash": """\
_longcall_completion() {
    local IFS=$'\\n'
    COMPREPLY=($(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" _LONGCALL_COMPLETE=complete_bash "$1"))
}
complete -o default -F _longcall_completion longcall
""",
    "zsh": """\
#compdef longcall
_longcall_completion() {
    eval "$(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _LONGCALL_COMPLETE=complete_zsh "${words[1]}")"
}
compdef _longcall_completion longcall
""",
    "fish": """\
function __longcall_complete
    env _LONGCALL_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=$argv[1] _TYPER_COMPLETE_ARGS=(commandline -cp) longcall
end
complete --command longcall --no-files --condition "__longcall_complete is-args" --arguments "(__longcall_complete get-args)"
""",
}


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print a shell's completion script.

    For bash or zsh, put `eval "$(longcall completion bash)"` into ~/.bashrc, or the same with zsh into ~/.zshrc below compinit; for fish,
    see the example.
    """
    sys.stdout.write(_SCRIPTS[shell])
