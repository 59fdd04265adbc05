"""setup-env.sh, run whole against a project that keeps its state: empty, again, half done, and where it must not go on."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.conftest import Whole
from tests.deploy.project import ARGUMENTS, PROJECT, ROOT, Google, Project, essence

RUNNER = f"longcall-runner@{PROJECT}.iam.gserviceaccount.com"
CALLER = f"longcall-caller@{PROJECT}.iam.gserviceaccount.com"


def commands(state: dict[str, Any]) -> list[str]:
    """What gcloud was asked, each command once."""
    return list(dict.fromkeys(shlex.join(["gcloud", *each]) for each in state["log"]))


def test_an_empty_project_gets_everything(whole: Whole) -> None:
    """Both queues with our settings, the route, the database with its indexes, the bucket, the secrets, and the least of rights."""
    state = whole.project.state
    retries = {"maxAttempts": -1, "minBackoff": "1s", "maxBackoff": "30s", "maxDoublings": 5}
    queues = {name: (each["retryConfig"], each["appEngineRoutingOverride"]) for name, each in state["queues"].items()}
    assert queues == {name: (retries, {"service": "default"}) for name in ("longcall", "longcall-control")}
    assert [each["rateLimits"]["maxConcurrentDispatches"] for each in state["queues"].values()] == [70, 10]
    assert (state["app"]["locationId"], state["databases"]["longcall"]["type"]) == ("us-central", "FIRESTORE_NATIVE")
    rules = state["buckets"][f"gs://{PROJECT}-longcall"]["lifecycle"]["rule"]
    ages = {"Delete": 90, "AbortIncompleteMultipartUpload": 2}
    assert {each["action"]["type"]: each["condition"]["age"] for each in rules} == ages
    assert {of: {each["role"] for each in bindings} for of, bindings in state["policies"].items()} == {
        f"projects/{PROJECT}": {
            "roles/appengine.appViewer",
            "roles/cloudtrace.agent",
            "roles/datastore.user",
            "roles/logging.logWriter",
            "roles/telemetry.metricsWriter",
            "roles/telemetry.tracesWriter",
        },
        RUNNER: {"roles/iam.serviceAccountTokenCreator"},
        CALLER: {"roles/iam.serviceAccountTokenCreator"},
        "longcall": {"roles/cloudtasks.enqueuer", "roles/cloudtasks.viewer"},
        "longcall-control": {"roles/cloudtasks.enqueuer", "roles/cloudtasks.viewer"},
        f"gs://{PROJECT}-longcall": {"roles/storage.objectUser"},
        "longcall-webhook-secret": {"roles/secretmanager.secretAccessor"},
        "longcall-tokens": {"roles/secretmanager.secretAccessor"},
    }
    members = {member for bindings in state["policies"].values() for each in bindings for member in each["members"]}
    assert members == {f"serviceAccount:{RUNNER}"}
    of_the_database = [each["condition"]["expression"] for each in state["policies"][f"projects/{PROJECT}"] if "condition" in each]
    assert of_the_database == [f'resource.name=="projects/{PROJECT}/databases/longcall"']


def test_firestore_gets_what_the_index_file_says(whole: Whole) -> None:
    """Each composite index, each field's own indexes and each TTL of deploy/firestore.indexes.json, and no other."""
    wanted = json.loads((ROOT / "deploy" / "firestore.indexes.json").read_text())
    state = whole.project.state

    def group(name: str) -> str:
        return name.split("/collectionGroups/")[1].partition("/")[0]

    made = [(group(each["name"]), [field for field in each["fields"] if field["fieldPath"] != "__name__"]) for each in state["composite"]]
    assert made == [(each["collectionGroup"], each["fields"]) for each in wanted["indexes"]]
    fields = {(group(name), name.rpartition("/")[2]): each["indexConfig"]["indexes"] for name, each in state["fields"].items()}
    orders = {name: [index["fields"][0]["order"] for index in indexes] for name, indexes in fields.items()}
    overrides = wanted["fieldOverrides"]
    assert orders == {(each["collectionGroup"], each["fieldPath"]): [index["order"] for index in each["indexes"]] for each in overrides}
    ttls = {(group(name), name.rpartition("/")[2]) for name in state["ttls"]}
    assert ttls == {(each["collectionGroup"], each["fieldPath"]) for each in overrides if each.get("ttl")}


def test_secrets_are_no_arguments_and_the_token_is_shown_once(whole: Whole, set_up: Project) -> None:
    """Neither value is in any command; standard output is the token alone; Secret Manager has its SHA-256, and a second run shows none."""
    done, state = whole.done, whole.project.state
    token = done.stdout.strip()
    (signing,), (entry,) = (state["secrets"][name] for name in ("longcall-webhook-secret", "longcall-tokens"))
    assert re.fullmatch(r"longcall_[A-Za-z0-9_-]{43}", token)
    assert re.fullmatch(r"operator:write:[0-9a-f]{64}", entry)
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", signing)
    everything = json.dumps(state["log"]) + done.stderr
    assert not [each for each in (token, signing, entry.rpartition(":")[2]) if each in everything]
    again = set_up.set_up()
    assert (again.stdout, set_up.state["secrets"]["longcall-tokens"]) == ("", [entry])


def test_a_second_run_changes_nothing_and_says_so(whole: Whole, set_up: Project) -> None:
    """Run twice, the project is as after the first time, and no changing command ran."""
    said = set_up.must(set_up.set_up())
    assert (essence(set_up.state), set_up.state["changes"]) == (essence(whole.project.state), 0)
    assert f"Nothing had to be changed in project {PROJECT}." in said


def test_a_dry_run_prints_what_a_real_one_runs_and_runs_nothing(whole: Whole, project: Project) -> None:
    """Its lines are the commands of a run in an empty project, every one and no other, and gcloud was not asked once."""
    told = project.run("setup-env.sh", *ARGUMENTS, "--dry-run")
    assert (told.returncode, project.state["log"], told.stderr) == (0, [], "")
    printed = {shlex.join(shlex.split(line)) for line in told.stdout.splitlines()}
    assert printed == set(commands(whole.project.state))


def test_a_dry_run_needs_no_gcloud(project: Project) -> None:
    """It can be read where gcloud is not installed."""
    (project.folder / "bin" / "gcloud").unlink()
    told = project.run("setup-env.sh", *ARGUMENTS, "--dry-run")
    assert (told.returncode, told.stdout.count("\n") > 60) == (0, True)
    missing = project.set_up()
    assert (missing.returncode, "gcloud is not there: install it" in missing.stderr) == (1, True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_half_done_state_is_gone_on_from(whole: Whole, tmp_path: Path, google: Google) -> None:
    """Stopped after each single change, and run again each time: it ends as an undisturbed run does, with nothing done twice."""
    undisturbed = whole.project.state
    broken = Project.made(tmp_path / "broken", google)
    for number in range(1, undisturbed["changes"] + 1):
        broken.change(changes=0, stop=["after", 1])
        done = broken.set_up()
        assert (done.returncode, "run the same again" in done.stderr, broken.state["changes"]) == (1, True, 1), (number, done.stderr)
    broken.change(changes=0, stop=None)
    assert "Nothing had to be changed" in broken.must(broken.set_up())
    assert essence(broken.state) == essence(undisturbed)


@pytest.mark.parametrize(("how", "change"), [("before", 2), ("after", 14), ("before", 30), ("after", 50)])
def test_a_stop_in_the_middle(whole: Whole, project: Project, how: str, change: int) -> None:
    """Stopped at some change, made or not, it says so in one sentence; the next run does the rest in one go."""
    project.change(stop=[how, change])
    stopped = project.set_up()
    assert stopped.returncode == 1
    assert stopped.stderr.strip().splitlines()[-1].endswith("Mend what it says above and run the same again: what is done is kept.")
    project.change(stop=None)
    project.must(project.set_up())
    assert essence(project.state) == essence(whole.project.state)


def test_a_stop_at_the_token_shows_it(set_up: Project) -> None:
    """If the secret was made although gcloud failed, its token has been shown: nobody is locked out."""
    set_up.change(secrets={"longcall-webhook-secret": ["whsec_"]}, stop=["after", 1])
    stopped = set_up.set_up()
    assert (stopped.returncode, stopped.stdout.startswith("longcall_")) == (1, True)
    assert "only if secret longcall-tokens was made" in stopped.stderr
    assert len(set_up.state["secrets"]["longcall-tokens"]) == 1


def test_a_secret_without_a_value_gets_one(set_up: Project) -> None:
    """An empty secret, or one whose versions are all disabled, is no secret."""
    set_up.change(secrets={"longcall-webhook-secret": [], "longcall-tokens": ["operator:write:0"]})
    set_up.must(set_up.set_up())
    assert {name: len(values) for name, values in set_up.state["secrets"].items()} == {"longcall-webhook-secret": 1, "longcall-tokens": 1}


def test_what_google_has_not_heard_of_yet_is_waited_for(set_up: Project) -> None:
    """A new service account is unknown to IAM for a moment: the binding is tried again."""
    set_up.change(unknown_yet=[RUNNER], policies={name: each for name, each in set_up.state["policies"].items() if name != "longcall"})
    set_up.must(set_up.set_up())
    assert [each["role"] for each in set_up.state["policies"]["longcall"]] == ["roles/cloudtasks.enqueuer", "roles/cloudtasks.viewer"]


SETTINGS = {"maxAttempts": -1, "minBackoff": "1s", "maxBackoff": "30s", "maxDoublings": 5}


def with_app(location: str = "us-central", **more: object) -> dict[str, object]:
    """A state with an App Engine app."""
    services = [f"{each}.googleapis.com" for each in ("appengine", "cloudtasks", "firestore", "iam")]
    app = {"locationId": location, "defaultHostname": "h", "servingStatus": "SERVING", "services": {}}
    return {"services": services, "app": app | more}


def with_queue(**more: object) -> dict[str, object]:
    """A state with a queue of ours that is different in something."""
    name = f"projects/{PROJECT}/locations/us-central1/queues/longcall"
    route, rates = {"service": "default"}, {"maxConcurrentDispatches": 70}
    queue = {"name": name, "state": "RUNNING", "retryConfig": SETTINGS, "rateLimits": rates, "appEngineRoutingOverride": route}
    return with_app() | {"queues": {"longcall": queue | more}}


BAD: dict[str, tuple[dict[str, object], str]] = {
    "nobody is logged in": ({"login": ""}, "Nobody is logged in: run `gcloud auth login`"),
    "no such project": ({"id": "another-one"}, "You may not look there"),
    "a project being deleted": ({"lifecycle": "DELETE_REQUESTED"}, "is not active"),
    "no billing": ({"billing": False}, "has no billing account that pays"),
    "services may not be listed": ({"denied": ["services list"]}, "You may not look there"),
    "an app in another region": (with_app("europe-west"), "is in europe-west1 and cannot be moved"),
    "an app that is turned off": (with_app(servingStatus="USER_DISABLED"), "is disabled"),
    "a region App Engine has not": (with_app() | {"app": None}, "App Engine has no region mars-east1"),
    "a queue with other retries": (with_queue(retryConfig=SETTINGS | {"maxAttempts": 100}), "other retry settings"),
    "a queue that gives up": (with_queue(retryConfig=SETTINGS | {"maxRetryDuration": "60s"}), "other retry settings"),
    "a queue with a longer backoff": (with_queue(retryConfig=SETTINGS | {"maxBackoff": "3600s"}), "other retry settings"),
    "a queue of another service": (with_queue(appEngineRoutingOverride={"service": "mails"}), "routes to mails, not to default"),
    "a queue without a route": (with_queue(appEngineRoutingOverride={}), "routes to no service"),
    "a queue that wants too much": (with_queue(rateLimits={}), "dispatches up to 1000 tasks at once"),
    "a queue with an HTTP address": (with_queue(httpTarget={"uriOverride": {}}), "HTTP address of its own"),
    "a Datastore database": (
        with_app() | {"databases": {"longcall": {"name": f"projects/{PROJECT}/databases/longcall", "type": "DATASTORE_MODE"}}},
        "is a Datastore one",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_fit_is_said_before_anything_changes(project: Project, what: str) -> None:
    """One sentence with what to do, exit 1, and not one changing command."""
    state, sentence = BAD[what]
    project.change(**state)
    more = {
        "a region App Engine has not": ("--region", "mars-east1"),
        "a queue of another service": ("--service", "default"),
        "a queue without a route": ("--service", "default"),
    }.get(what, ())
    done = project.set_up(*more)
    last = done.stderr.strip().splitlines()[-1]
    assert (done.returncode, project.state["changes"]) == (1, 0), done.stderr
    assert sentence in last
    assert re.search(r": (run|mend|link|restore|enable|ask|`gcloud)", last), last


def test_missing_permissions_are_named(project: Project, google: Google) -> None:
    """What the operator may not do is found out before the first change."""
    google.not_granted = {"cloudtasks.queues.create", "storage.buckets.create"}
    done = project.set_up()
    assert (done.returncode, project.state["changes"]) == (1, 0)
    assert done.stderr.rstrip().endswith("missing are cloudtasks.queues.create storage.buckets.create")


def test_where_permissions_cannot_be_asked_it_goes_on(set_up: Project) -> None:
    """Then a command that is not allowed says so itself."""
    done = set_up.run("setup-env.sh", *ARGUMENTS, "--yes", CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER="http://127.0.0.1:1/")
    assert "Google did not say what you may do" in set_up.must(done)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "--project is missing"),
        (("--project", "P!", "--region", "us-central1"), "--project is missing, or is no project id"),
        (("--project", PROJECT), "--region is missing"),
        ((*ARGUMENTS, "--retention", "1"), "--retention is a whole number of days"),
        ((*ARGUMENTS, "--queue", "longcall-control"), "two different names"),
        ((*ARGUMENTS, "--queue"), "--queue needs a value"),
        ((*ARGUMENTS, "--dryrun"), "--dryrun is no option"),
    ],
)
def test_wrong_arguments(project: Project, arguments: tuple[str, ...], sentence: str) -> None:
    """Each is named, and gcloud is not asked."""
    done = project.run("setup-env.sh", *arguments)
    assert (done.returncode, project.state["log"]) == (1, [])
    assert sentence in done.stderr


@pytest.mark.parametrize(("answer", "goes_on"), [("y\n", True), ("n\n", False), ("", False)])
def test_what_cannot_be_undone_is_asked_for(project: Project, answer: str, goes_on: bool) -> None:  # noqa: FBT001 — a test's case
    """The App Engine app is made after a yes only; without one nothing was changed."""
    done = project.run("setup-env.sh", *ARGUMENTS, given=answer)
    assert "This cannot be undone" in done.stderr
    assert (done.returncode == 0, project.state["app"] is not None, project.state["changes"] > 0) == (goes_on, goes_on, goes_on)


def ours(project: Project, **more: object) -> dict[str, object]:
    """The queue of calls, different in something."""
    queues = project.state["queues"]
    return {"queues": queues | {"longcall": queues["longcall"] | more}}


def test_queues_are_updated_when_asked(set_up: Project) -> None:
    """--update-queues gives our settings to a queue that has others, and keeps the version that it routes to."""
    route = {"service": "default", "version": "v7"}
    set_up.change(**ours(set_up, retryConfig=SETTINGS | {"maxAttempts": 3}, rateLimits={}, appEngineRoutingOverride=route))
    set_up.must(set_up.set_up("--update-queues"))
    queue = set_up.state["queues"]["longcall"]
    assert (queue["retryConfig"], queue["rateLimits"]["maxConcurrentDispatches"]) == (SETTINGS, 70)
    assert queue["appEngineRoutingOverride"] == route


def test_the_operator_s_rates_are_kept(set_up: Project) -> None:
    """A queue that is slower than the instances allow is somebody's wish."""
    set_up.change(**ours(set_up, rateLimits={"maxConcurrentDispatches": 5}))
    assert "Nothing had to be changed" in set_up.must(set_up.set_up("--update-queues"))
    assert set_up.state["queues"]["longcall"]["rateLimits"] == {"maxConcurrentDispatches": 5}


def test_an_app_with_a_website_keeps_it(project: Project) -> None:
    """Where a default service is, Longcall is a service of its own."""
    project.change(**with_app(services={"default": {"versions": {}, "traffic": "v1"}}))
    project.must(project.set_up())
    assert project.state["queues"]["longcall"]["appEngineRoutingOverride"] == {"service": "longcall"}
    assert "https://longcall-dot-h" in (project.folder / "checkout" / "deploy" / "env.yaml").read_text()


def test_the_first_service_must_be_default(project: Project) -> None:
    """App Engine refuses another one, so it is said here, before anything is made."""
    done = project.set_up("--service", "longcall")
    assert (done.returncode, project.state["changes"]) == (1, 0)
    assert "must be `default`: run again without --service" in done.stderr


def test_settings_that_somebody_added_stay(set_up: Project) -> None:
    """deploy/env.yaml belongs to both: a second run keeps what it did not write."""
    file = set_up.folder / "checkout" / "deploy" / "env.yaml"
    with file.open("a") as adding:
        adding.write('  # ours\n  LONGCALL_ALLOWED_TARGETS: "*.run.app" # all of them\n')
    set_up.must(set_up.set_up("--retention", "7"))
    text = file.read_text()
    assert '  LONGCALL_ALLOWED_TARGETS: "*.run.app"\n' in text
    assert '  LONGCALL_RETENTION: "7d"\n' in text
    assert set_up.state["buckets"][f"gs://{PROJECT}-longcall"]["lifecycle"]["rule"][0]["condition"] == {"age": 67}
