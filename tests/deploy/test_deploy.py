"""deploy.sh, run whole: what is uploaded, when the queues are routed, what is said of the old version, and what stops it."""

import re
import shlex
from pathlib import Path

import pytest

from tests.deploy.project import PROJECT, Google, Project

OPERATOR = "longcall_of-the-operator"


def deployed(project: Project, service: str = "default") -> dict[str, dict[str, object]]:
    """The versions of a service, with what was uploaded."""
    versions: dict[str, dict[str, object]] = project.state["app"]["services"][service]["versions"]
    return versions


def routes(project: Project) -> list[object]:
    """Where both queues route to."""
    return [queue["appEngineRoutingOverride"] for queue in project.state["queues"].values()]


def verbs(project: Project) -> list[str]:
    """The words of each command that gcloud was given, without its flags."""
    return [" ".join(word for word in each if not word.startswith("--")) for each in project.state["log"]]


@pytest.fixture
def running(set_up: Project) -> Project:
    """A project where version v1 runs and is routed to."""
    set_up.must(set_up.run("deploy.sh", "--version", "v1"))
    return set_up


def test_a_first_version_is_routed_to(running: Project) -> None:
    """Uploaded without traffic, waited for, then the queues, then the web; the URL and a first command are said."""
    assert routes(running) == [{"service": "default", "version": "v1"}] * 2
    assert running.state["app"]["services"]["default"]["traffic"] == "v1"
    changing = [each for each in running.state["log"] if {"deploy", "update", "set-traffic"} & set(each)]
    words = [[word for word in each if not word.startswith(("--", "/"))] for each in changing]
    assert words == [
        ["app", "deploy"],
        ["tasks", "queues", "update", "longcall-control"],
        ["tasks", "queues", "update", "longcall"],
        ["app", "services", "set-traffic", "default"],
    ]
    assert "--no-promote" in changing[0]
    assert running.google.asked[-1] == "/readyz"


def test_what_is_uploaded_is_source_lock_and_app_yaml(running: Project) -> None:
    """Nothing else: no tests, no keys, no caches; with the account, the service and the settings filled in."""
    uploaded = deployed(running)["v1"]
    assert uploaded["files"] == ["app.yaml", "requirements.txt", "src/longcall/__init__.py", "src/longcall/__main__.py"]
    text = str(uploaded["yaml"])
    assert f"\nservice: default\nservice_account: longcall-runner@{PROJECT}.iam.gserviceaccount.com\n" in text
    for setting in (
        'PYTHONPATH: "src"',
        'LONGCALL_HOLD_SLOTS: "8"',
        f'LONGCALL_STORE: "firestore://{PROJECT}/longcall"',
        'LONGCALL_TOKENS: "sm://longcall-tokens"',
        f'LONGCALL_QUEUE: "projects/{PROJECT}/locations/us-central1/queues/longcall"',
    ):
        assert f"\n  {setting}\n" in f"{text}\n"


def test_the_old_version_is_spoken_of(running: Project, google: Google) -> None:
    """What it still holds, until when, how it is removed then, and the way back: each a command that can be pasted."""
    google.running = 3
    said = running.must(running.run("deploy.sh", "--version", "v2", LONGCALL_TOKEN=OPERATOR))
    assert re.search(
        r"Version v1 has 2 instances and gets nothing new\. What it holds \(at most 3 calls\) goes on there, until 20\d\d-", said
    )
    assert f"  gcloud app versions delete v1 --service=default --project={PROJECT}\n" in said
    assert "The way back: ./deploy.sh --rollback v1\n" in said
    assert routes(running) == [{"service": "default", "version": "v2"}] * 2
    assert set(deployed(running)) == {"v1", "v2"}
    assert OPERATOR not in said + str(running.state["log"])


def test_an_old_version_without_instances_holds_nothing(running: Project) -> None:
    """Then it may be removed at once."""
    running.change(instances=0)
    assert "Version v1 has no instance any more" in running.must(running.run("deploy.sh"))


def test_what_is_not_ready_is_not_routed_to(running: Project, google: Google) -> None:
    """A version whose /readyz says no is left without traffic; the old one goes on."""
    google.ready = 503
    done = running.run("deploy.sh", "--version", "v2")
    assert done.returncode == 1
    assert "the last answer was: 503" in done.stderr
    assert "Version v2 is there and not ready; nothing is routed to it, and v1 runs on." in done.stderr
    assert routes(running) == [{"service": "default", "version": "v1"}] * 2
    assert running.state["app"]["services"]["default"]["traffic"] == "v1"


def test_rollback_is_one_command(running: Project) -> None:
    """Queues and web go back to a version that is there, once it is ready, without a deploy."""
    running.must(running.run("deploy.sh", "--version", "v2"))
    running.change(log=[])
    said = running.must(running.run("deploy.sh", "--rollback", "v1"))
    assert routes(running) == [{"service": "default", "version": "v1"}] * 2
    assert running.state["app"]["services"]["default"]["traffic"] == "v1"
    assert not [each for each in verbs(running) if each.startswith("app deploy")]
    assert "Version v2 has 2 instances" in said


def test_no_route_leaves_the_queues(running: Project) -> None:
    """And says how to route later, which is the same command as the way back."""
    said = running.must(running.run("deploy.sh", "--version", "v2", "--no-route"))
    assert routes(running) == [{"service": "default", "version": "v1"}] * 2
    assert "Route it: ./deploy.sh --route v2" in said
    running.must(running.run("deploy.sh", "--route", "v2"))
    assert routes(running) == [{"service": "default", "version": "v2"}] * 2


def test_the_api_can_be_a_service_of_its_own(set_up: Project) -> None:
    """--api deploys both; links lead to the one that never waits behind held calls, and no queue routes to it."""
    said = set_up.must(set_up.run("deploy.sh", "--version", "v1", "--api"))
    url = f"https://longcall-api-dot-{PROJECT}.uc.r.appspot.com"
    for service in ("default", "longcall-api"):
        assert f'\n  LONGCALL_PUBLIC_URL: "{url}"\n' in str(deployed(set_up, service)["v1"]["yaml"])
    assert "automatic_scaling:" in str(deployed(set_up, "longcall-api")["v1"]["yaml"])
    assert f"Longcall is at {url}." in said
    assert routes(set_up) == [{"service": "default", "version": "v1"}] * 2


def test_thousands_of_calls_go_on_manual_scaling(set_up: Project) -> None:
    """--manual deploys the other file, where calls beyond the held ones are detached."""
    set_up.must(set_up.run("deploy.sh", "--version", "v1", "--manual"))
    text = str(deployed(set_up)["v1"]["yaml"])
    assert "manual_scaling:" in text
    assert 'LONGCALL_WHEN_FULL: "detach"' in text


def test_a_deploy_that_stopped_is_finished_by_route(running: Project) -> None:
    """Stopped at each of its four changes, it says so; --route does the rest, whichever it was."""
    for number, version in enumerate(("v2", "v3", "v4", "v5"), start=1):
        running.change(changes=0, stop=["after", number])
        stopped = running.run("deploy.sh", "--version", version)
        assert (stopped.returncode, "run the same again" in stopped.stderr) == (1, True)
        running.change(stop=None)
        running.must(running.run("deploy.sh", "--route", version))
        assert routes(running) == [{"service": "default", "version": version}] * 2
        assert running.state["app"]["services"]["default"]["traffic"] == version


def replaced(file: Path, before: str, after: str) -> None:
    """Change a file of the checkout."""
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def stopped(project: Project, sentence: str, *arguments: str) -> None:
    """It ends with this sentence, and has changed nothing."""
    before = project.state["changes"]
    done = project.run("deploy.sh", *arguments)
    assert (done.returncode, project.state["changes"]) == (1, before), done.stderr
    assert sentence in done.stderr.strip().splitlines()[-1]


def test_a_stale_lock_stops_it(set_up: Project) -> None:
    """What pyproject.toml asks for must be in requirements.txt, new enough; the one that is not is named."""
    replaced(set_up.folder / "checkout" / "pyproject.toml", '"aiohttp>=3.14"', '"aiohttp>=99.1"')
    stopped(set_up, "run `make lock`, and deploy again; pyproject.toml also asks for aiohttp>=99.1 (locked: 3.", "--version", "v1")
    replaced(set_up.folder / "checkout" / "pyproject.toml", '"aiohttp>=99.1"', '"newcomer>=1"')
    stopped(set_up, "newcomer>=1 (locked: not at all)")


def test_a_broken_app_yaml_stops_it(set_up: Project) -> None:
    """What is missing in it is named."""
    file = set_up.folder / "checkout" / "deploy" / "app.yaml"
    whole = file.read_text()
    for before, sentence in (
        ("  max_instances: 20\n", "must say max_instances below basic_scaling"),
        ('  PYTHONPATH: "src"\n', 'must say PYTHONPATH: "src"'),
        ("runtime: python313\n", "has no line that begins with `runtime: python3`"),
    ):
        file.write_text(whole.replace(before, ""))
        stopped(set_up, sentence)
    file.write_text(whole.replace('LONGCALL_MAX_CALLS: "8"', "LONGCALL_MAX_CALLS: 8"))
    stopped(set_up, "'LONGCALL_MAX_CALLS: 8' is no setting")


def test_fewer_instances_than_the_queue_wants_stop_it(set_up: Project) -> None:
    """Dispatches that find no instance fail and slow the queue down: it is refused, with both ways out."""
    replaced(set_up.folder / "checkout" / "deploy" / "app.yaml", "max_instances: 20", "max_instances: 5")
    stopped(set_up, "dispatches up to 70 tasks at once, and deploy/app.yaml has room for 35")


def test_without_a_set_up_project_it_says_what_comes_first(project: Project, set_up: Project) -> None:
    """No deploy/env.yaml; a queue that was deleted; queues elsewhere than the app."""
    stopped(project, "run ./setup-env.sh first")
    queues = set_up.state["queues"]
    set_up.change(queues={"longcall": queues["longcall"]})
    stopped(set_up, "Queue longcall-control is not there: run ./setup-env.sh first")
    set_up.change(queues=queues, app=set_up.state["app"] | {"locationId": "europe-west"})
    stopped(set_up, "The App Engine app of abc-longcall is in europe-west1")


def test_versions_are_looked_up(running: Project) -> None:
    """A name that is taken is refused, since it may hold calls; one that is not there can't be routed to; a wrong one is named."""
    stopped(running, "has a version v1 already, which may hold calls", "--version", "v1")
    stopped(running, "Service default has no version v9: it has v1", "--rollback", "v9")
    stopped(running, "--version is a lower-case letter", "--version", "V.1")


def test_a_first_service_must_be_default(set_up: Project) -> None:
    """App Engine takes no other first service."""
    queues = {name: each | {"appEngineRoutingOverride": {"service": "longcall"}} for name, each in set_up.state["queues"].items()}
    set_up.change(queues=queues)
    stopped(set_up, "The first service of an App Engine app must be `default`")


def test_a_dry_run_prints_every_command_and_runs_none(set_up: Project) -> None:
    """A line each, in the order of a real run."""
    told = set_up.run("deploy.sh", "--dry-run", "--version", "v1")
    assert (told.returncode, set_up.state["log"]) == (0, [])
    printed = [[word for word in shlex.split(line)[1:] if "/app.yaml" not in word] for line in told.stdout.splitlines()]
    set_up.must(set_up.run("deploy.sh", "--version", "v1"))
    assert printed == [[word for word in each if "/app.yaml" not in word] for each in set_up.state["log"]]
