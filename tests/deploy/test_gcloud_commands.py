"""Every gcloud command of the scripts and of the pages goes through gcloud's own parser, which needs no network."""

import asyncio
import json
import os
import re
import shlex
from pathlib import Path

import pytest

from tests.deploy.conftest import Whole
from tests.deploy.project import ARGUMENTS, ROOT, Google, Project
from tests.google import sdk

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")])
SCRIPTS = [ROOT / "setup-env.sh", ROOT / "deploy.sh", ROOT / "deploy" / "common.sh"]

# A command at the beginning of a line, behind a pipe, or in $(…); to the next pipe or bracket that is not between quotes.
BEGINS = re.compile(r"""(?:^|\| |\$\()(gcloud (?:'[^']*'|"[^"]*"|[^|)'"])+)""")


def written(text: str) -> list[str]:
    """The commands in a text: lines of code blocks, with those that they go on in, and whole commands between backticks."""
    joined = text.replace("\\\n", " ")
    lines = [line.strip() for block in re.findall(r"```sh\n(.*?)```", joined, re.DOTALL) for line in block.splitlines()]
    inline = re.findall(r"\\?`(gcloud [^`\\]+)\\?`", joined)
    said = re.findall(r'say "  (gcloud [^"]+)"', joined)
    found = [*inline, *said, *(match for line in lines for match in BEGINS.findall(line))]
    return [plain(each) for each in found if "…" not in each]


def plain(command: str) -> str:
    """A command with names in place of its variables, and without what the shell takes off it."""
    named = re.sub(r"\$\{?[A-Za-z_0-9:]+\}?", "x1", re.sub(r"\$\(\([^)]*\)\)", "1", command))
    return re.split(r" (?:#|<|>|2>|&&|;) ?", named)[0].strip().removesuffix("\\")


def run_ones(project: Project) -> list[str]:
    """What gcloud was asked, as lines."""
    return [shlex.join(["gcloud", *each]) for each in project.state["log"]]


@pytest.fixture
def of_the_scripts(whole: Whole, set_up: Project, tmp_path: Path, google: Google) -> list[str]:
    """Each command of both scripts, collected by running them: dry, whole, again, with queues to update, and every way of deploying."""
    dry = set_up.run("setup-env.sh", *ARGUMENTS, "--dry-run").stdout.splitlines()
    first = run_ones(whole.project)
    queues = {name: each | {"rateLimits": {}} for name, each in set_up.state["queues"].items()}
    secrets: dict[str, list[str]] = {"longcall-webhook-secret": [], "longcall-tokens": []}
    set_up.change(queues=queues, secrets=secrets)
    set_up.must(set_up.set_up("--update-queues", "--retention", "7"))
    set_up.must(set_up.run("deploy.sh", "--version", "v1", "--api"))
    set_up.must(set_up.run("deploy.sh", "--version", "v2"))
    set_up.must(set_up.run("deploy.sh", "--rollback", "v1"))
    del tmp_path, google
    return [*dry, *first, *run_ones(set_up)]


async def refused(commands: list[str], folder: Path) -> dict[str, str]:
    """What gcloud's parser says of those it does not take."""
    file = folder / "commands.json"
    file.write_text(json.dumps([{"command_string": each} for each in commands]))
    linting = await asyncio.create_subprocess_exec(
        *("gcloud", "meta", "lint-gcloud-commands", f"--commands-file={file}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"CLOUDSDK_CONFIG": str(folder / "gcloud")},  # noqa: TID251 — a child needs it
    )
    out, said = await linting.communicate()
    assert linting.returncode == 0, said.decode()
    results = json.loads(out)
    assert len(results) == len(commands)
    return {each["command_string"]: each["error_message"] for each in results if not each["success"]}


WRONG = "gcloud tasks queues create q --no-such-flag=1"


@pytest.mark.timeout(120)
async def test_gcloud_takes_every_command(of_the_scripts: list[str], tmp_path: Path) -> None:
    """No flag that is not there, none that is missing, in scripts, advice and pages; a wrong one is refused."""
    await sdk()
    texts = [file.read_text() for file in [*SCRIPTS, *PAGES]]
    commands = dict.fromkeys([*of_the_scripts, *(each for text in texts for each in written(text))])
    wrong = await refused([*commands, WRONG], tmp_path)
    assert list(wrong) == [WRONG], wrong


def test_the_commands_of_the_pages_are_found() -> None:
    """In blocks and in sentences, over several lines, in a pipe, and behind a variable."""
    block = "gcloud run deploy \\\n  x --region=$REGION\necho y | gcloud secrets create s --data-file=-  # why"
    text = f"Run `gcloud auth login`.\n```sh\n{block}\n```\n"
    assert written(text) == ["gcloud auth login", "gcloud run deploy    x --region=x1", "gcloud secrets create s --data-file=-"]
