"""Upstash's published client for JavaScript works against the local server, unchanged."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from local.rest_server.running import RunningServer
from tests.deploy import aws_tools
from tests.project import ROOT

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

UPSTASH = Path(__file__).parent / "upstash"
INSTALLED = ROOT / "build" / "tools" / "upstash"


@pytest.fixture(scope="module")
def calls() -> Path:
    """The script, next to the packages that it imports."""
    aws_tools.node_modules(UPSTASH / "package.json", INSTALLED)
    return Path(shutil.copy(UPSTASH / "calls.mjs", INSTALLED))


@pytest.mark.parametrize("way", ["alone", "piped"])
def test_its_calls_are_answered_as_by_upstash(calls: Path, valkey: RunningServer, way: str) -> None:
    valkey.clear_faults()
    valkey.flush()
    valkey.ask("SCRIPT", "FLUSH")
    node = shutil.which("node")
    assert node is not None
    given = {"UPSTASH_REDIS_REST_URL": valkey.url, "UPSTASH_REDIS_REST_TOKEN": valkey.token}
    ran = subprocess.run(
        [node, str(calls), way], env=os.environ | given, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert int(ran.stdout.split()[0]) >= 40
