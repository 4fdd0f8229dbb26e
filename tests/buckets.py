"""The three kinds of storage, for tests; S3 is moto's server on loopback."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
from moto.server import ThreadedMotoServer

from shared.config.settings import Settings
from shared.storage.bucket import Bucket
from tests.world import settings_for

MIB = 1024 * 1024
NOW = 1_800_000_000_000
DAY = 86_400_000
KEYS = {"storage_access_key_id": "AKIAEXAMPLE", "storage_secret_access_key": "secret-of-the-storage-in-tests"}


class S3:
    """A server and its content, read with its owner's client."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.client: Any = boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1",
            aws_access_key_id="AKIAEXAMPLE", aws_secret_access_key="secret-of-the-storage-in-tests",
        )  # fmt: skip

    def bucket(self) -> str:
        """A new bucket's name."""
        name = f"bucket-{uuid4().hex}"
        self.client.create_bucket(Bucket=name)
        return name

    def dangling(self, bucket: str) -> list[str]:
        """The keys of the multipart uploads that are neither completed nor aborted."""
        return [upload["Key"] for upload in self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


@contextmanager
def s3_server() -> Iterator[S3]:
    """Moto on a free port of loopback."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield S3("http://{}:{}".format(*server.get_host_and_port()))
    finally:
        server.stop()


def s3_settings(s3: S3, bucket: str, **changes: Any) -> Settings:
    values = {"storage_url": f"s3://{bucket}/some/prefix", "storage_endpoint": s3.endpoint, **KEYS}
    return settings_for(None, **(values | changes))


def file_settings(folder: Path, **changes: Any) -> Settings:
    return settings_for(None, storage_url=(folder / "kept files").as_uri(), **changes)


def memory_settings(**changes: Any) -> Settings:
    return settings_for(None, storage_url=f"memory://{uuid4().hex}", **changes)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def content(bucket: Bucket, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in bucket.read(key, start, end)])


async def everything(bucket: Bucket) -> list[str]:
    """All keys, sorted, after the check that the first file began."""
    if bucket.checking is not None:
        await asyncio.wait([bucket.checking])
    return sorted([key async for page in bucket.pages("") for key in page])
