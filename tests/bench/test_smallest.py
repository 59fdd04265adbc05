import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.google import missing, part

ROOT = Path(__file__).parents[2]


def run(*words: str) -> str:
    """Run a bench as people do; what it printed."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LONGCALL_")}  # noqa: TID251 — a child needs it
    command = [sys.executable, str(ROOT / "bench" / words[0]), *words[1:]]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def table(tmp_path: Path, bench: str) -> dict[str, Any]:
    """Run a bench at its smallest; what it wrote as JSON, which is what it printed."""
    printed = run(bench, "--smallest", "--json", str(tmp_path / "table.json"))
    found: dict[str, Any] = json.loads((tmp_path / "table.json").read_text())
    assert [line.split(" | ")[0].removeprefix("| ") for line in printed.splitlines() if line.startswith("| ")][2:] == [
        row["what"] for row in found["rows"]
    ]
    assert found["command"] == f"bench/{bench} --smallest"
    for row in found["rows"]:
        assert set(row) == {"what", "ours", "baseline", "target", "met"}
        assert row["ours"] or row["baseline"]
        assert (row["met"] is not None) is bool(row["target"])
    assert {"cpu", "cores", "memory", "system", "load"} == set(found["machine"])
    assert set(found["versions"]) >= {"Python", "longcall"}
    return found


def targets(found: dict[str, Any]) -> dict[str, str]:
    """What each row that has one aims at."""
    return {row["what"]: "{kind} {value:g} {unit}".format(**row["target"]) for row in found["rows"] if row["target"]}


def whats(found: dict[str, Any]) -> list[str]:
    """The names of the rows."""
    return [row["what"] for row in found["rows"]]


def value(found: dict[str, Any], what: str) -> float:
    """What was measured, of the row that is named so."""
    (row,) = (row for row in found["rows"] if row["what"] == what)
    return float(row["ours"]["value"])


@pytest.mark.timeout(120)
def test_held_calls(tmp_path: Path) -> None:
    """Calls are held both ways, none is lost or made twice, and four baselines stand beside them."""
    found = table(tmp_path, "held_calls.py")
    assert sum(what.startswith("30 through ") for what in whats(found)) == 4
    for how in ("detached", "held"):
        assert value(found, f"30 {how}: calls lost") == 0
        assert value(found, f"30 {how}: calls made twice") == 0
        assert value(found, f"30 {how}: memory in all") > 10
        assert f"30 {how}: processor while idle" in whats(found)


@pytest.mark.timeout(120)
def test_recovery(tmp_path: Path) -> None:
    """What `up` was killed with is all running again after its start, none of it twice, while the baseline lost all."""
    found = table(tmp_path, "recovery.py")
    up = "20 calls, up is started again"
    assert [value(found, f"{up}: {what}") for what in ("lost", "made more than once again")] == [0, 0]
    assert 0 < value(found, f"{up}: all running again") < float("inf")
    (lost,) = (row["baseline"]["text"] for row in found["rows"] if row["what"] == f"{up}: lost")
    assert lost == "20"


@pytest.mark.timeout(120)
def test_storm(tmp_path: Path) -> None:
    """Each kind of jitter is simulated and tried; what is simulated is the same each time, and jitter takes the top off."""
    found = table(tmp_path, "storm.py")
    peaks = [value(found, f"jitter {kind}: most arrivals in a second") for kind in ("none", "equal", "full")]
    assert peaks == [500, 113, 74]
    for kind in ("none", "equal", "full"):
        assert value(found, f"for real, 20 calls, jitter {kind}: arrivals in all") >= 20


@pytest.mark.timeout(60)
def test_the_picture_of_a_storm(tmp_path: Path) -> None:
    """The same figures draw the same bytes."""
    script = (
        "import sys; sys.path.insert(0, 'bench'); from pathlib import Path; from plots import small_multiples\n"
        "small_multiples(Path(sys.argv[1]), {'a': ([0, 1], [1, 5]), 'b': ([0, 1], [2, 3])}, ('x', 'y'), (2, 'line'))"
    )
    pictures = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for each in pictures:
        subprocess.run([sys.executable, "-c", script, str(each)], cwd=ROOT, check=True)
    one, two = (each.read_bytes() for each in pictures)
    assert one == two
    assert b">line</text>" in one


@pytest.mark.timeout(60)
def test_scale(tmp_path: Path) -> None:
    """The model says what a real run asked of the store for its calls, to the very operation, and each size has its rows."""
    found = table(tmp_path, "scale.py")
    asked = [row["what"].rpartition(", ")[2] for row in found["rows"] if row["what"].startswith("10 calls for ")]
    assert asked == ["insert", "get", "replace", "cancelled", "beat", "runner"]
    inserts, gets, replaces = (row["ours"]["value"] for row in found["rows"][:3])
    assert 10 <= inserts <= 20, "a dispatch may be there before its record, and makes it"
    assert (gets - inserts, replaces) == (10, 20)
    for size in ("1,000", "100,000", "10,000,000"):
        assert f"{size} calls: limits met on the way" in whats(found)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_relay(tmp_path: Path) -> None:
    """Both stores keep what they answered, beside nginx and two plain relays."""
    for program in ("nginx", "wrk"):
        if shutil.which(program) is None:
            missing(program)
    found = table(tmp_path, "relay.py")
    for store in ("SQLite", "PostgreSQL"):
        assert value(found, f"{store}: tasks a second") > 10
        assert value(found, f"{store}: of these not SUCCEEDED in the store") == 0
    assert value(found, "SQLite, beside 50 running calls: tasks a second") > 10


@pytest.mark.timeout(60)
def test_laptop(tmp_path: Path) -> None:
    """Short tasks go through everything, many at once and one after the other, beside calls made directly."""
    found = table(tmp_path, "laptop.py")
    assert value(found, "8 at once: submit, call, settle, wait") > 10
    idle = "added latency of one short call on an idle system: "
    assert targets(found) == {f"{idle}p50": "at most 4 ms", f"{idle}p99": "at most 15 ms"}
    assert 0 < value(found, f"{idle}p50") <= value(found, f"{idle}p99")


@pytest.mark.timeout(60)
def test_embedded_queue(tmp_path: Path) -> None:
    """Tasks are created and dispatched, at their rate and at their time, and no sooner; also beside many that wait."""
    found = table(tmp_path, "embedded_queue.py")
    assert targets(found) == {
        "creates over gRPC, durable": "at least 4000 /s",
        "dispatches, durable": "at least 2000 /s",
        "1,000 tasks waiting: dispatches beside them": "at least 2000 /s",
    }
    assert all(value(found, what) > 50 for what in targets(found))
    assert -50 < value(found, "off a limit of 500/s, over 100 tasks") < 50
    for beside in ("", "1,000 tasks waiting: "):
        assert 0 <= value(found, f"{beside}later than it was due, p50") <= value(found, f"{beside}later than it was due, p99")


@pytest.mark.timeout(60)
def test_lists(tmp_path: Path) -> None:
    """Both stores are asked the same, side by side."""
    found = table(tmp_path, "lists.py")
    assert {"get", "newest", "state FAILED and label of few", "counts"} < set(whats(found))
    assert all(row["ours"]["value"] > 0 and row["baseline"]["value"] > 0 for row in found["rows"])


@pytest.mark.timeout(60)
def test_dashboard(tmp_path: Path) -> None:
    """Each page is looked at, and has a target; the style sheet stands beside them."""
    found = table(tmp_path, "dashboard.py")
    assert set(targets(found)) == {*whats(found)} - {"its style sheet"} > {"overview", "list, its second page", "one task"}
    assert set(targets(found).values()) == {"at most 300 ms"}


@pytest.mark.timeout(60)
def test_telemetry(tmp_path: Path) -> None:
    """What is on by default and what can be asked for have their costs, with a collector and without."""
    found = table(tmp_path, "telemetry.py")
    assert targets(found) == {
        f"{where}, {what}: throughput lost": bound
        for where in ("a collector that takes everything", "no collector there")
        for what, bound in (("metrics alone", "at most 2 %"), ("metrics and traces", "at most 15 %"))
    }


@pytest.mark.timeout(60)
def test_startup(tmp_path: Path) -> None:
    """A runner is ready on each store, beside a bare web server, and the dearest imports are named."""
    if part("platform/cloud-firestore-emulator/cloud-firestore-emulator.jar") is None:
        missing("Google's Firestore emulator")
    found = table(tmp_path, "startup.py")
    assert targets(found) == {
        f"runner, {store}: {path}": f"at most {seconds} s"
        for store, ready in (("SQLite", 0.9), ("PostgreSQL", 0.9), ("Firestore's emulator", 1.4))
        for path, seconds in (("/healthz", 0.6), ("/readyz", ready))
    }
    imports = [row["ours"]["value"] for row in found["rows"] if row["what"].startswith("imports: ")]
    assert imports == sorted(imports, reverse=True)
    assert 0 < sum(imports) < value(found, "runner, SQLite: all imports")
    assert {"imports: longcall", "imports: aiohttp"} < set(whats(found))
