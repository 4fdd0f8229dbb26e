"""URLs of stored files: what they allow, and for how long."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx
import pytest

from shared.config.settings import Settings
from shared.storage.bucket import Bucket
from shared.storage.links import ROUTE
from tests.buckets import (
    KEYS,
    NOW,
    S3,
    content,
    file_settings,
    pieces,
    s3_settings,
)
from tests.world import settings_for


async def test_a_presigned_url_of_s3_gets_the_file_under_its_name(s3: S3) -> None:
    bucket = Bucket(s3_settings(s3, s3.bucket()))
    await bucket.save("a b/ü.mp4", pieces(b"film"), "video/mp4")
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(bucket.url("a b/ü.mp4", NOW, filename='my "film" é.mp4'))
    assert (answer.status_code, answer.content) == (200, b"film")
    assert answer.headers["content-type"] == "video/mp4"
    shown = "attachment; filename=\"my _film_ _.mp4\"; filename*=UTF-8''my%20%22film%22%20%C3%A9.mp4"
    assert answer.headers["content-disposition"] == shown


async def test_a_presigned_url_of_s3_puts_a_file(s3: S3) -> None:
    bucket = Bucket(s3_settings(s3, s3.bucket()))
    url, headers = bucket.upload_url("uploads/x.png", NOW, "image/png", 5)
    assert headers == {"Content-Type": "image/png", "Content-Length": "5"}
    assert "X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost" in url
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.put(url, content=b"image", headers=headers)
    assert answer.status_code == 200
    assert await content(bucket, "uploads/x.png") == b"image"


def test_a_url_stays_the_same_for_a_quarter_of_its_life(settings: Settings) -> None:
    bucket = Bucket(settings)
    window = settings.storage_url_ttl * 1000 // 4
    start = NOW // window * window
    same = {bucket.url("x/0.mp4", start + passed) for passed in (0, 1, window - 1)}
    assert len(same) == 1
    assert bucket.url("x/0.mp4", start + window) not in same


def expiry_of(url: str, signed_at: int) -> float:
    query = dict(parse_qsl(urlsplit(url).query))
    return int(query["expires"]) if "expires" in query else signed_at / 1000 + int(query["X-Amz-Expires"])


@pytest.mark.parametrize("passed", [0, 1, 899_999])
def test_a_url_lasts_as_long_as_promised_whenever_it_is_made(settings: Settings, passed: int) -> None:
    start = NOW // 900_000 * 900_000
    assert settings.storage_url_ttl == 3600
    expires = expiry_of(Bucket(settings).url("x/0.mp4", start + passed), start)
    assert expires * 1000 - (start + passed) >= 3_600_000


def test_a_url_is_never_signed_for_more_than_a_week(tmp_path: Path) -> None:
    settings = settings_for(None, storage_url="s3://files", storage_url_ttl=604_800, **KEYS)
    assert "X-Amz-Expires=604800&" in Bucket(settings).url("x", NOW)


def test_a_public_bucket_needs_no_signature(tmp_path: Path) -> None:
    public = {"storage_public_url": "https://files.acme.net/"}
    settings = settings_for(None, storage_url="s3://files/some/prefix", **KEYS, **public)
    assert Bucket(settings).url("a b/0.mp4", NOW) == "https://files.acme.net/some/prefix/sluice/test/a%20b/0.mp4"
    assert Bucket(file_settings(tmp_path, **public)).url("a/0.mp4", NOW) == "https://files.acme.net/sluice/test/a/0.mp4"


def test_lambda_s_region_does_not_become_that_of_r2() -> None:
    r2 = {"storage_endpoint": "https://abc.r2.cloudflarestorage.com", "storage_region": "eu-west-1"}
    assert "%2Fauto%2Fs3%2F" in Bucket(settings_for(None, storage_url="s3://files", **KEYS, **r2)).url("x", NOW)
    url = Bucket(settings_for(None, storage_url="s3://files", **KEYS)).url("x", NOW)
    assert url.startswith("https://files.s3.us-east-1.amazonaws.com/sluice/test/x?") and "%2Fus-east-1%2Fs3%2F" in url


def own(url: str) -> tuple[str, dict[str, str]]:
    """The key and the query as Sluice's own route gets them."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    assert path.startswith(ROUTE)
    return path.removeprefix(ROUTE), dict(parse_qsl(parts.query))


def test_the_own_route_knows_its_urls_and_no_others(tmp_path: Path) -> None:
    bucket = Bucket(file_settings(tmp_path, public_base_url="https://queue.acme.net"))
    url = bucket.url("a b/0.mp4", NOW, filename="é.mp4")
    assert url.startswith("https://queue.acme.net/api/files/a%20b/0.mp4?expires=")
    key, query = own(url)
    assert key == "a b/0.mp4" and query["filename"] == "é.mp4"
    assert bucket.verify_file_url("GET", key, query, NOW)
    assert bucket.verify_file_url("HEAD", key, query, NOW)
    assert not bucket.verify_file_url("PUT", key, query, NOW)
    assert not bucket.verify_file_url("GET", "a b/1.mp4", query, NOW)
    assert not bucket.verify_file_url("GET", key, query, NOW + 2 * 3_600_000)
    for name, value in [
        ("expires", str(int(query["expires"]) + 1)), ("expires", "9" * 13), ("expires", "²"), ("expires", ""),
        ("filename", "x"), ("signature", ""), ("signature", "\udc80é"),
    ]:  # fmt: skip
        assert not bucket.verify_file_url("GET", key, query | {name: value}, NOW)
    assert not bucket.verify_file_url("GET", key, {"expires": query["expires"]}, NOW)
    other = Bucket(file_settings(tmp_path, signing_secret="another secret of this test"))
    assert not other.verify_file_url("GET", key, query, NOW)


def test_an_upload_by_the_own_route_is_held_to_its_type_and_size(tmp_path: Path) -> None:
    bucket = Bucket(file_settings(tmp_path))
    url, headers = bucket.upload_url("uploads/x.png", NOW, "image/png", 5)
    key, query = own(url)
    assert headers == {"Content-Type": "image/png", "Content-Length": "5"}
    assert bucket.verify_file_url("PUT", key, query, NOW, "image/png", "5")
    assert not bucket.verify_file_url("PUT", key, query, NOW, "image/png", "6")
    assert not bucket.verify_file_url("PUT", key, query, NOW, "image/svg+xml", "5")
    assert not bucket.verify_file_url("GET", key, query, NOW)


def test_making_urls_loads_no_client(tmp_path: Path) -> None:
    text = (
        "import sys; from shared.config.settings import Settings; from shared.storage.bucket import Bucket;"
        "import shared.storage.copying;"
        "s = Settings(sluice_env='test', use_redis_for_tasks=False, storage_url='s3://xyz', storage_access_key_id='a',"
        "storage_secret_access_key='b'); Bucket(s).url('x', 0); Bucket(s).upload_url('x', 0, 'a/b', 1);"
        "print([m for m in ('obstore', 'filetype', 'httpx', 'av', 'PIL') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, env=os.environ)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")
