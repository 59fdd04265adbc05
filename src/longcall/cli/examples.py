"""An example or two of each command, as its help shows them: lines to be pasted into a shell."""

from rich.markup import escape

EXAMPLES: dict[str, tuple[str, ...]] = {
    "up": ("longcall up", "longcall up --port 0 --data /tmp/longcall --json"),
    "demo": ("longcall demo",),
    "runner": ("LONGCALL_QUEUE_SECRET=shared-by-both longcall runner --drain 20m",),
    "queue": ("longcall queue --memory --queue projects/p/locations/l/queues/q",),
    "keygen": ("longcall keygen", "longcall keygen --token ci:read"),
    "migrate": ("LONGCALL_STORE=postgresql://me@localhost/longcall longcall migrate",),
    "doctor": ("longcall doctor", "longcall doctor --target https://train.example/slow --hold 600"),
    "completion": ("longcall completion fish > ~/.config/fish/completions/longcall.fish",),
    "submit": (
        "longcall submit http://127.0.0.1:9000/ -X GET --wait",
        "longcall submit https://train.example/ -d '{\"epochs\": 40}' --retry max=3",
        "longcall submit https://train.example/ -d @job.json --timeout 45m",
    ),
    "status": ("longcall status train-7",),
    "wait": ("longcall wait train-7 --timeout 10m",),
    "logs": ("longcall logs train-7",),
    "list": ("longcall list --state failed --since 2026-11-24T08:00:00Z",),
    "watch": ("longcall watch --label team=ml", "longcall watch train-7 train-8"),
    "cancel": ("longcall cancel train-7",),
    "retry": ("longcall retry train-7 --wait", "longcall retry --reason timed_out --label team=ml"),
    "requeue": ("longcall requeue --dry-run",),
}


def shown(name: str, *, rich: bool) -> str:
    """What stands below a command's help, each example a line of its own: Click does not wrap what follows a line with a backspace."""
    lines = "\n".join(["Example:", *(f"  {each}" for each in EXAMPLES[name])])
    return escape(f"\n{lines}") if rich else f"\b\n{lines}"
