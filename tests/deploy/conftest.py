"""Fixtures of the AWS tests: a copy of the project, its package, and what would be deployed."""

import zipfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from local import artifact
from local.rest_server.running import RunningServer
from local.simulator.running import RunningSimulator
from tests.deploy import aws_project
from tests.deploy.aws_offline import Offline, running_offline
from tests.deploy.aws_project import Template

ARCH = "x86_64"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fails a skipped deploy test, since a deployment that was not tried is not proved."""
    report = yield
    if report.skipped and item.get_closest_marker("deploy"):
        report.outcome = "failed"
    return report


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return aws_project.copy_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def package(project: Path) -> Path:
    """The zip that is deployed."""
    return artifact.build(ARCH, root=project)


@pytest.fixture(scope="session")
def task(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip unpacked, as Lambda does it."""
    folder = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def template(project: Path, package: Path, valkey: RunningServer, simulator: RunningSimulator) -> Template:
    """The template of `serverless package --stage preview`; production's differs only in the stage's name."""
    return aws_project.pack(project, aws_project.settings(valkey, simulator), "--stage", "preview")


@pytest.fixture(scope="session")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offline]:
    with running_offline(tmp_path_factory.mktemp("offline")) as running:
        yield running


@pytest.fixture(scope="session", autouse=True)
def offline_started(request: pytest.FixtureRequest) -> None:
    """Starts it before all tests: its schedule first ticks up to a minute later, and the other tests use that time."""
    if any("offline" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("offline")
