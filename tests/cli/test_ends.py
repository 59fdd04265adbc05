import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from longcall.cli.ends import Follow, code_of, sentence
from longcall.cli.main import run
from longcall.core import errors
from longcall.core.errors import FieldError, InvalidArgumentError, LongcallError, UnauthenticatedError
from longcall.core.task import Failure, State
from longcall.core.text import span_text
from longcall.sdk.errors import NotLongcallError, OutOfReachError, ResourceExhaustedError, TaskCancelled, TaskFailed
from longcall.sdk.errors import WaitTimeout as Over
from longcall.sdk.view import TaskView, view_fields
from tests.sdk.service import service

WHEN = "2026-11-24T12:00:00Z"
TASK = TaskView(**view_fields({"id": "train", "state": "FAILED", "version": 3, "createTime": WHEN, "updateTime": WHEN, "attemptCount": 2}))
FOLLOW = Follow("train", "http://there:1")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TaskFailed(TASK), 1),
        (TaskCancelled(TASK), 1),
        (InvalidArgumentError(FieldError("/id", "x")), 2),
        (errors.AlreadyExistsError("train", ()), 2),
        (errors.FailedPreconditionError(), 2),
        (errors.TooLargeError(), 2),
        (OutOfReachError("http://a", "refused"), 3),
        (UnauthenticatedError(), 3),
        (errors.PermissionDeniedError(), 3),
        (errors.OurFault(), 3),
        (NotLongcallError(), 3),
        (ResourceExhaustedError(), 3),
        (Over(TASK), 4),
        (errors.NotFoundError(), 5),
    ],
)
def test_each_end_has_its_exit_code(error: LongcallError, code: int) -> None:
    """1 failed, 2 usage, 3 out of reach or not allowed, 4 still running, 5 no such task."""
    assert code_of(error) == code


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            InvalidArgumentError(FieldError("/retry/maxAttempts", "at least 1"), FieldError("", "odd")),
            "--retry maxAttempts: at least 1; odd",
        ),
        (InvalidArgumentError(FieldError("/httpRequest/url", "no host")), "URL: no host"),
        (
            OutOfReachError("http://[::1]:1", "refused"),
            "nothing answers at http://[::1]:1 (refused): start it with `longcall up`, or give --url",
        ),
        (OutOfReachError("http://there", "refused"), "nothing answers at http://there (refused): is --url, or LONGCALL_URL, right?"),
        (OutOfReachError("http://there", "reset", sent=True, may_exist="train"), "`longcall wait train --url http://there:1`"),
        (OutOfReachError("http://[::1]:1", "reset", sent=True, may_be_done=True), "may have been done, and can be asked for again"),
        (errors.MayExistError("train"), "`longcall wait train --url http://there:1`"),
        (errors.AlreadyExistsError("train", ("/attemptTimeout", "/httpRequest/body")), "differs in --timeout, -d: give another --id"),
        (errors.NotFoundError("there is no task x"), "there is no task x; `longcall list` shows those there are"),
        (UnauthenticatedError("it wants a token"), "it wants a token: give --token, or set LONGCALL_TOKEN"),
        (Over(TASK), "wait on with `longcall wait train --url http://there:1`"),
    ],
)
def test_each_error_says_what_would_be_right(error: LongcallError, said: str) -> None:
    """One sentence: what was wrong, where, and the way on."""
    assert said in sentence(error, FOLLOW)
    assert "\n" not in sentence(error, FOLLOW)


@pytest.mark.parametrize(("reason", "ran", "said"), [("timed_out", True, "may have run"), ("unreachable", False, "has not run")])
def test_a_failure_says_whether_the_target_may_have_run(reason: str, ran: bool, said: str) -> None:  # noqa: FBT001 — a case of a table
    """Whoever decides about doing it again needs to know."""
    failed = TaskView(**{**vars(TASK), "failure": Failure(reason, "no answer", ran)})
    assert sentence(TaskFailed(failed)) == f"train failed on attempt 2: {reason}: no answer; the target {said}"


def test_the_way_back_can_be_pasted_into_a_shell() -> None:
    """What a shell would take apart is quoted."""
    assert Follow("a b", None).command == "longcall wait 'a b'"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frob"], "No such command 'frob'; see `longcall --help`"),
        (["sumbit", "http://a"], "Did you mean 'submit'? See `longcall --help`"),
        (["status"], "Missing argument 'ID'; see `longcall status --help`"),
        (["wait", "x", "--timeuot", "1s"], "--timeuot"),
        (["wait", "x", "--timeout", "soon", "--url", "http://127.0.0.1:9"], "--timeout: 'soon' is no duration"),
        (["list", "--state", "waitng"], "--state: there is no 'waitng'; did you mean waiting?"),
        (["list", "--limit", "0"], "--limit"),
        (["status", "x", "--url", "localhost:8080"], "--url: 'localhost:8080' is no URL of a server"),
        (["submit", "http://a", "--retry", "maxx=1"], "--retry: there is no 'maxx'; did you mean max?"),
        (["submit", "http://a", "-H", "nothing"], "-H: 'nothing' is no header"),
        (["submit", "http://a", "--label", "nothing"], "--label: 'nothing' is no label"),
        (["submit", "http://a", "--timeout", "45"], "--timeout: '45' is no duration: write it like 90s, 45m"),
        (["submit", "http://a", "-d", "@/nowhere"], "-d: /nowhere can't be read: No such file or directory"),
        (["up", "--port", "99999"], "--port"),
        (["submit", "http://a", "--schedule", "tomorrow"], "--schedule: a time is written as RFC 3339"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, nothing on standard output, and one line that names the option and what would be right."""
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert shown.err.startswith("longcall: ")


def test_the_program_says_what_it_can(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command, and with --help, the commands are shown; --version is one line."""
    assert run([]) == run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("submit", "status", "wait", "list", "cancel", "retry", "requeue", "keygen", "up", "demo"))
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("longcall 0.")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0ms"), (0.08, "80ms"), (1.44, "1.4s"), (59.9, "59s"), (65, "1m 05s"), (7380, "2h 03m"), (273600, "3d 04h")],
)
def test_lengths_of_time_are_short(seconds: float, text: str) -> None:
    """As much as people want to read."""
    assert span_text(timedelta(seconds=seconds)) == text


def test_a_full_disk_is_said() -> None:
    """No traceback when standard output can't take more."""
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run([sys.executable, "-m", "longcall", "--version"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (3, b"longcall: the output can't be written: No space left on device\n")


def test_a_reader_that_has_enough_is_no_error() -> None:
    """`longcall … | head` ends without a word."""
    with subprocess.Popen([sys.executable, "-m", "longcall", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, err = process.communicate()
    assert (process.returncode, err) == (1, b"")


def test_the_view_reads_times_and_states() -> None:
    """Values, not text."""
    assert (TASK.create_time, TASK.state) == (datetime(2026, 11, 24, 12, tzinfo=UTC), State.FAILED)


def test_what_keeps_a_server_from_starting_is_said(tmp_path: Path) -> None:
    """A port that is taken, for each way in, a folder that is in use or can't be: exit code 3, one sentence, what to give instead."""
    with service(tmp_path / "data") as running:
        ports = {
            name: address.rpartition(":")[2] for name, address in (("api", running.api), ("grpc", running.grpc), ("rest", running.rest))
        }
        cases = [
            (("up", "--port", ports["api"], "--grpc-port", "0", "--rest-port", "0"), "address already in use"),
            (("up", "--port", "0", "--grpc-port", ports["grpc"], "--rest-port", "0"), f"can't listen on 127.0.0.1:{ports['grpc']}"),
            (("queue", "--grpc-port", "0", "--rest-port", ports["rest"]), f"can't listen on 127.0.0.1:{ports['rest']}"),
        ]
        for number, (arguments, said) in enumerate(cases):
            ended = program(*arguments, "--data", str(tmp_path / f"other-{number}"))
            assert (ended.returncode, ended.stdout) == (3, "")
            assert said in ended.stderr
            assert "another" in ended.stderr
            assert "0 for a free one" in ended.stderr
            assert [line.startswith("longcall: ") for line in plain(ended.stderr)] == [True]
        held = program("queue", "--grpc-port", "0", "--rest-port", "0", "--data", str(running.data))
        assert (held.returncode, held.stderr) == (
            3,
            f"longcall: {running.data} is in use by another longcall up: stop that one, or give --data another folder\n",
        )
    (tmp_path / "file").write_text("")
    nowhere = program("up", "--port", "0", "--grpc-port", "0", "--rest-port", "0", "--data", str(tmp_path / "file" / "x"))
    assert nowhere.returncode == 3
    assert "give --data a folder that can be written" in nowhere.stderr
    assert "Traceback" not in nowhere.stderr


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    command = [sys.executable, "-m", "longcall", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def plain(said: str) -> list[str]:
    """The lines that are ours: logs are JSON for a pipe, and gRPC writes a line of its own."""
    return [line for line in said.splitlines() if not line.startswith(("{", "E", "W", "I"))]
