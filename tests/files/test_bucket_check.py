"""The check of a bucket next to its first file."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from shared.storage.bucket import Bucket, StorageError
from tests.buckets import KEYS, S3, content, everything, file_settings, memory_settings, pieces, s3_settings
from tests.deployment import free_port
from tests.logs import all_logs
from tests.threads import running


def kind_of(method: str, path: str) -> str:
    if "list-type" in path:
        return "list"
    kinds = {"GET": "read", "HEAD": "size", "DELETE": "delete"}
    return "delete" if "?delete" in path else kinds.get(method, "write")


def answer(to: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
    to.send_response(status)
    for name in ("etag", "content-type", "last-modified"):
        if name in headers:
            to.send_header(name, headers[name])
    to.send_header("Content-Length", headers.get("content-length", "0") if to.command == "HEAD" else str(len(body)))
    to.end_headers()
    if to.command != "HEAD":
        to.wfile.write(body)


class Guarded:
    """The S3 server behind rights: it refuses what ``refused`` names, and counts what passes."""

    def __init__(self, s3: S3) -> None:
        self.refused = ""
        self.refusal = (403, b"<Error><Code>AccessDenied</Code></Error>")
        self.stuck: dict[str, threading.Event] = {}  # what an answer waits for, by kind
        self.passed: list[str] = []
        guarded = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                kind = kind_of(self.command, self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                if kind in guarded.stuck:
                    guarded.stuck[kind].wait(60)
                if kind == guarded.refused:
                    return answer(self, *guarded.refusal, {})
                guarded.passed.append(kind)
                with httpx.Client(trust_env=False) as client:
                    headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                    got = client.request(self.command, f"{s3.endpoint}{self.path}", content=body, headers=headers)
                answer(self, got.status_code, got.content, dict(got.headers))

            do_GET = do_DELETE = do_HEAD = do_POST = do_PUT

            def log_message(self, *_: Any) -> None:
                """Logs nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


async def checked(bucket: Bucket) -> None:
    assert bucket.checking is not None
    await bucket.checking


@pytest.fixture
def guarded(s3: S3) -> Iterator[Guarded]:
    made = Guarded(s3)
    with running(made.server):
        yield made


async def test_the_first_file_of_a_process_comes_with_one_check_that_leaves_nothing(s3: S3, guarded: Guarded) -> None:
    name = s3.bucket()
    bucket = Bucket(s3_settings(s3, name, storage_endpoint=guarded.endpoint))
    with all_logs() as logs:
        await bucket.save("a.txt", pieces(b"one"), "text/plain")
        await checked(bucket)
    assert [(line["event"], line["bucket"]) for line in logs] == [("storage_checked", name)]
    assert sorted(guarded.passed) == ["delete", "list", "read", "size", "write", "write"]
    assert await everything(bucket) == ["a.txt"] and await content(bucket, "a.txt") == b"one"
    guarded.passed.clear()
    with all_logs() as logs:
        await bucket.save("b.txt", pieces(b"two"), "text/plain")
    assert (guarded.passed, logs) == (["write"], [])


@pytest.mark.parametrize(
    ("step", "needs"),
    [("read", "s3:GetObject"), ("list", "s3:ListBucket"), ("delete", "s3:DeleteObject"), ("size", "s3:DeleteObject")],
)
async def test_a_right_that_is_missing_is_logged_by_name(s3: S3, guarded: Guarded, step: str, needs: str) -> None:
    guarded.refused = step
    bucket = Bucket(s3_settings(s3, s3.bucket(), storage_endpoint=guarded.endpoint))
    with all_logs() as logs:
        await bucket.save("a.txt", pieces(b"one"), "text/plain")
        await checked(bucket)
    (failed,) = (line for line in logs if line["event"] == "storage_check_failed")
    assert failed["reason"].partition(":")[0] == step and failed["needs"] == needs
    assert failed["step"] == ("delete" if step == "size" else step)
    guarded.refused = ""
    left = [key for key in await everything(bucket) if key != "a.txt"]
    assert len(left) == (step == "delete")


async def test_a_file_that_cannot_be_stored_fails_and_the_check_says_why(s3: S3, guarded: Guarded) -> None:
    guarded.refused = "write"
    bucket = Bucket(s3_settings(s3, s3.bucket(), storage_endpoint=guarded.endpoint))
    with all_logs() as logs, pytest.raises(StorageError, match="save"):
        await bucket.save("a.txt", pieces(b"one"), "text/plain")
    (failed,) = (line for line in logs if line["event"] == "storage_check_failed")
    assert (failed["step"], failed["needs"]) == ("write", "s3:PutObject") and "trouble" not in failed


@pytest.mark.parametrize(
    ("status", "body", "trouble"),
    [
        (404, "<Error><Code>NoSuchBucket</Code></Error>", "127.0.0.1 has no bucket films-of-tests: see STORAGE_URL"),
        (403, "<Error><Code>SignatureDoesNotMatch</Code><StringToSign>AWS4 private</StringToSign></Error>",
         "STORAGE_SECRET_ACCESS_KEY is wrong for this STORAGE_ACCESS_KEY_ID"),
        (403, "<Error><Code>InvalidAccessKeyId</Code></Error>", "127.0.0.1 does not know STORAGE_ACCESS_KEY_ID"),
        (400, "<Error><Code>ExpiredToken</Code></Error>", "the session token is wrong, or no longer valid"),
        (403, "<Error><Code>RequestTimeTooSkewed</Code></Error>", "this machine's clock is wrong"),
        (301, "<Error><Code>PermanentRedirect</Code></Error>", "the region us-east-1 is wrong for the bucket"),
        (400, "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>",
         "the region us-east-1 is wrong for the bucket films-of-tests; it is eu-west-1: see STORAGE_REGION"),
        (404, "<html><h1>Not found</h1></html>", "127.0.0.1 answered 404, but not as S3 does: see STORAGE_ENDPOINT"),
        (403, "<html><h1>No</h1></html>", "127.0.0.1 answered 403, but not as S3 does: see STORAGE_ENDPOINT"),
        (200, "<html><h1>Hello</h1></html>", "127.0.0.1 answers, but not as S3 does: see STORAGE_ENDPOINT"),
        (400, "<Error><Code>EntityTooSmall</Code></Error>", "127.0.0.1 answered 400 EntityTooSmall"),
    ],
)  # fmt: skip
async def test_a_wrong_bucket_key_region_or_host_is_named_and_no_right(
    s3: S3, guarded: Guarded, status: int, body: str, trouble: str
) -> None:
    guarded.refused, guarded.refusal = "write", (status, body.encode())
    bucket = Bucket(s3_settings(s3, "films-of-tests", storage_endpoint=guarded.endpoint, storage_region="us-east-1"))
    with all_logs() as logs, pytest.raises(StorageError, match="save"):
        await bucket.save("a.txt", pieces(b"one"), "text/plain")
    (failed,) = (line for line in logs if line["event"] == "storage_check_failed")
    assert failed["trouble"].startswith(trouble) and "needs" not in failed
    assert (
        "private" not in str(failed)
        and "/check/" not in str(failed)
        and KEYS["storage_secret_access_key"] not in str(failed)
    )


async def test_a_server_that_cannot_be_reached_is_named_and_no_right(s3: S3) -> None:
    port = free_port()
    bucket = Bucket(s3_settings(s3, "films", storage_endpoint=f"http://127.0.0.1:{port}"))
    with all_logs() as logs, pytest.raises(StorageError, match="save"):
        await bucket.save("a.txt", pieces(b"one"), "text/plain")
    (failed,) = (line for line in logs if line["event"] == "storage_check_failed")
    assert failed["trouble"] == f"nothing listens at 127.0.0.1:{port}" and "needs" not in failed


async def test_a_caller_that_gives_up_ends_the_check_too(s3: S3) -> None:
    stuck = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"one"
        await stuck.wait()

    bucket = Bucket(s3_settings(s3, s3.bucket()))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await bucket.save("a.txt", endless(), "text/plain")
    assert await everything(bucket) == []


async def test_a_file_that_is_stored_waits_for_no_slow_check(
    s3: S3, guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.storage.check.TIDY_TIMEOUT", 15.0)  # s; this machine may be busy
    guarded.stuck["list"] = threading.Event()
    bucket = Bucket(s3_settings(s3, s3.bucket(), storage_endpoint=guarded.endpoint))
    with all_logs() as logs:
        async with asyncio.timeout(10):  # the check would take 15 s
            await bucket.save("a.txt", pieces(b"one"), "text/plain")
        assert bucket.checking is not None and not bucket.checking.done()
        await bucket.close()
    guarded.stuck.pop("list").set()
    assert bucket.checking.cancelled() and logs == []
    assert await everything(bucket) == ["a.txt"]


async def test_a_check_during_which_the_process_was_frozen_accuses_no_right(
    s3: S3, guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time passes between its first and its second step."""
    monkeypatch.setattr("shared.storage.check.TIMEOUT", 0.3)
    monkeypatch.setattr("shared.storage.check.FROZEN_FOR", -0.3)
    guarded.stuck["read"] = threading.Event()
    bucket = Bucket(s3_settings(s3, s3.bucket(), storage_endpoint=guarded.endpoint))
    with all_logs() as logs:
        await bucket.save("a.txt", pieces(b"one"), "text/plain")
        await checked(bucket)
    guarded.stuck.pop("read").set()
    assert logs == [] and await everything(bucket) == ["a.txt"]


async def test_a_folder_and_memory_are_not_checked(tmp_path: Any) -> None:
    for settings in (file_settings(tmp_path), memory_settings()):
        with all_logs() as logs:
            await Bucket(settings).save("a.txt", pieces(b"one"), "text/plain")
        assert logs == []
