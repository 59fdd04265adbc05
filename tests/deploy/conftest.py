"""What the tests of the scripts have at hand."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.project import Google, Project
from tests.deploy.project import google as running


@pytest.fixture
def google() -> Iterator[Google]:
    """What the scripts ask without gcloud."""
    with running() as told:
        yield told


@pytest.fixture
def project(tmp_path: Path, google: Google) -> Project:
    """A project with a billing account and nothing in it."""
    return Project.made(tmp_path, google)


@dataclass(frozen=True)
class Whole:
    """A project after one undisturbed run of setup-env.sh, and what that run said. Copied, not changed."""

    project: Project
    done: subprocess.CompletedProcess[str]

    def copy(self, folder: Path, google: Google) -> Project:
        """The same again, to be changed."""
        shutil.copytree(self.project.folder, folder, symlinks=True)
        copy = Project(folder, google)
        copy.change(url=google.url, log=[], changes=0)
        return copy


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """An undisturbed run, once for all tests."""
    with running() as told:
        project = Project.made(tmp_path_factory.mktemp("whole") / "project", told)
        done = project.set_up()
    project.must(done)
    return Whole(project, done)


@pytest.fixture
def set_up(whole: Whole, tmp_path: Path, google: Google) -> Project:
    """A project in which setup-env.sh has been run."""
    return whole.copy(tmp_path / "set-up", google)
