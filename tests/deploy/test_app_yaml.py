"""app.yaml and its siblings, through the gcloud CLI's own loader, as they lie here and as deploy.sh uploads them; and shell, checked."""

import asyncio
import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.deploy.project import PROJECT, ROOT, Project
from tests.google import sdk

FILES = ["app.yaml", "app.api.yaml", "app.manual.yaml"]
LOADER = """
import json, sys
sys.path[:0] = [sys.argv[1] + "/lib", sys.argv[1] + "/lib/third_party"]
from googlecloudsdk.appengine.admin.tools.conversion import convert_yaml
from googlecloudsdk.appengine.api import appinfo
loaded = appinfo.LoadSingleAppInfo(open(sys.argv[2])).ToDict()
print(json.dumps([loaded, convert_yaml.GetSchemaParser("v1").ConvertValue(loaded)]))
"""


async def loaded(file: Path) -> list[dict[str, object]]:
    """What gcloud reads in an app.yaml, and what it would send to App Engine."""
    root = await sdk()
    python = root / "platform" / "bundledpythonunix" / "bin" / "python3"
    loading = await asyncio.create_subprocess_exec(
        *(str(python if python.exists() else shutil.which("python3")), "-c", LOADER, str(root), str(file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, said = await loading.communicate()
    assert loading.returncode == 0, said.decode()[-500:]
    both: list[dict[str, object]] = json.loads(out)
    return both


@pytest.mark.parametrize("name", FILES)
async def test_gcloud_reads_it(name: str) -> None:
    """Its runtime, its scaling, its account, and the command that starts it."""
    read, sent = await loaded(ROOT / "deploy" / name)
    assert read["runtime"] == "python313"
    assert str(read["entrypoint"]).removeprefix("exec ") == "python -m longcall runner --host 0.0.0.0 --port $PORT"
    assert str(sent["serviceAccount"]).startswith("longcall-runner@")
    scalings = {"app.yaml": "basicScaling", "app.api.yaml": "automaticScaling", "app.manual.yaml": "manualScaling"}
    assert [each for each in sent if each.endswith("Scaling")] == [scalings[name]]
    assert "inbound_services" not in read


async def test_basic_scaling_is_within_its_bounds() -> None:
    """App Engine takes 1 to 25 instances there, and B classes."""
    read, sent = await loaded(ROOT / "deploy" / "app.yaml")
    assert sent["basicScaling"] == {"maxInstances": 20, "idleTimeout": "600s"}
    assert str(read["instance_class"]).startswith("B")


async def test_gcloud_reads_what_is_uploaded(set_up: Project, tmp_path: Path) -> None:
    """With the settings of deploy/env.yaml in it, whatever somebody wrote there."""
    with (set_up.folder / "checkout" / "deploy" / "env.yaml").open("a") as adding:
        adding.write('  LONGCALL_REDACT_HEADERS: "x-a: b, \\"c\\" # d, é"\n')
    done = set_up.run("deploy.sh", "--stage", str(tmp_path / "staged"))
    assert done.returncode == 0, done.stderr
    read, _ = await loaded(tmp_path / "staged" / "app.yaml")
    variables = read["env_variables"]
    assert isinstance(variables, dict)
    assert (variables["PYTHONPATH"], variables["LONGCALL_STORE"]) == ("src", f"firestore://{PROJECT}/longcall")
    assert (variables["LONGCALL_REDACT_HEADERS"], variables["LONGCALL_QUEUE_ENDPOINT"]) == ('x-a: b, "c" # d, é', "")


async def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    """So the loader is one that looks."""
    file = tmp_path / "app.yaml"
    file.write_text((ROOT / "deploy" / "app.yaml").read_text().replace("  idle_timeout: 10m", "  max_concurrent_requests: 8"))
    with pytest.raises(AssertionError, match="max_concurrent_requests"):
        await loaded(file)


@pytest.mark.parametrize("command", [("shellcheck", "-x"), ("shfmt", "-d", "-i", "2", "-ci")], ids=["shellcheck", "shfmt"])
async def test_the_scripts_are_clean(command: tuple[str, ...]) -> None:
    """Shellcheck has nothing to say, shfmt nothing to change."""
    checking = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).parent / command[0]), *command[1:], "setup-env.sh", "deploy.sh", "deploy/common.sh"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await checking.communicate()
    assert (checking.returncode, out.decode()) == (0, "")
