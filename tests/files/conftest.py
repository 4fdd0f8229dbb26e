"""Every kind of storage, a deployment that stores files, and a provider's file host."""

import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.config.settings import Settings
from shared.storage.bucket import Bucket
from tests.buckets import file_settings, memory_settings, s3_settings
from tests.files.storing import FILM
from tests.receiver import Receiver, receiver
from tests.world import World, make_world


@pytest.fixture
async def source() -> AsyncIterator[Receiver]:
    """The host of the provider's files."""
    async with receiver() as made:
        made.answers = lambda _: (200, {"Content-Type": "video/mp4"}, FILM)
        yield made


@pytest.fixture
async def world(any_store: RunningServer | None) -> AsyncIterator[World]:
    location = f"memory://{secrets.token_hex(8)}"  # a storage of this test only
    async with make_world(any_store, ManualClock(), allow_loopback=True, storage_url=location) as made:
        yield made


@pytest.fixture(params=["file", "memory", pytest.param("s3", marks=pytest.mark.exhaustive)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "file":
        return file_settings(tmp_path)
    if request.param == "memory":
        return memory_settings()
    server = request.getfixturevalue("s3")
    return s3_settings(server, server.bucket())


@pytest.fixture
def bucket(settings: Settings) -> Bucket:
    return Bucket(settings)


@pytest.fixture
def nothing_left(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test that leaves a file in the temporary directory."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "0.bin"
