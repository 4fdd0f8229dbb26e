"""A bucket without keys of its own, where SnapStart gives the functions an address that has their role's."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.clock import ManualClock
from shared.errors import StorageUnavailable
from shared.signing.s3 import Credentials
from shared.startup import SettingsError, load_settings
from shared.storage.bucket import Bucket, StorageError
from shared.storage.role import TRIES, Role, RoleKeys
from tests.buckets import NOW, S3, content, pieces, s3_settings
from tests.config.production import GOOD
from tests.files.role import TOKEN, Address
from tests.threads import running

NO_KEYS = {"storage_access_key_id": None, "storage_secret_access_key": None}


@pytest.fixture
def address() -> Iterator[Address]:
    made = Address()
    with running(made.server):
        yield made


def bucket_of(s3: S3, address: Address) -> Bucket:
    values: dict[str, Any] = {**NO_KEYS, "aws_container_credentials_full_uri": address.uri}
    return Bucket(s3_settings(s3, s3.bucket(), **values, aws_container_authorization_token=TOKEN))


def signed_with(url: str) -> tuple[str, str]:
    query = parse_qs(urlsplit(url).query)
    return query["X-Amz-Credential"][0].partition("/")[0], query["X-Amz-Security-Token"][0]


async def test_files_are_stored_and_urls_signed_with_the_keys_of_the_address(s3: S3, address: Address) -> None:
    bucket = bucket_of(s3, address)
    await bucket.save("a.txt", pieces(b"one"), "text/plain")
    assert await content(bucket, "a.txt") == b"one"
    assert signed_with(bucket.url("a.txt", NOW)) == ("ASIA1", "t1")
    assert address.asked == 1


async def test_keys_that_end_soon_are_asked_for_again_by_urls_and_by_the_storage(s3: S3, address: Address) -> None:
    bucket = bucket_of(s3, address)
    address.lasts = timedelta(seconds=20)
    await bucket.save("a.txt", pieces(b"one"), "text/plain")
    before = address.asked
    async with asyncio.timeout(10):
        while address.asked == before:  # obstore asks again after 0.1 s
            await bucket.save("a.txt", pieces(b"two"), "text/plain")
    before = address.asked
    assert signed_with(bucket.url("a.txt", NOW))[1] == f"t{before + 1}"


async def test_the_keys_of_the_storage_and_their_end_are_of_one_answer(
    s3: S3, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address fails at one question and answers the next with new keys."""
    now = datetime.now(UTC)
    answers = [RoleKeys(Credentials(f"ASIA{n}", "s", f"t{n}"), now + timedelta(hours=n)) for n in (1, 2)]
    expected = [(keys.credentials.session_token, keys.expires_at) for keys in answers]
    handed: list[Any] = []
    monkeypatch.setattr(Role, "keys", lambda _: answers.pop(0))
    monkeypatch.setattr("obstore.store.S3Store", lambda _, **given: handed.append(given["credential_provider"]()))
    bucket_of(s3, address)._open()
    assert [(keys["token"], keys["expires_at"]) for keys in handed] == expected[:1]


async def test_without_an_answer_the_old_keys_serve_until_they_end(s3: S3, address: Address) -> None:
    bucket = bucket_of(s3, address)
    address.lasts = timedelta(minutes=4)
    first = signed_with(bucket.url("a.txt", NOW))
    address.status = 500
    assert signed_with(bucket.url("a.txt", NOW)) == first
    fresh = bucket_of(s3, address)
    with pytest.raises(StorageUnavailable):
        fresh.url("a.txt", NOW)
    with pytest.raises(StorageError):
        await fresh.save("a.txt", pieces(b"one"), "text/plain")


def test_an_address_that_fails_is_asked_again_after_ten_seconds(
    s3: S3, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, clock = bucket_of(s3, address), ManualClock(round(datetime.now(UTC).timestamp() * 1000))
    monkeypatch.setattr("shared.storage.role.SystemClock", lambda: clock)
    address.status = 500
    for n in range(50):
        with pytest.raises(StorageUnavailable):
            bucket.url(f"{n}.txt", NOW)
    assert address.asked == TRIES
    address.status = 200
    clock.advance(9.9)
    with pytest.raises(StorageUnavailable):
        bucket.url("a.txt", NOW)
    clock.advance(0.2)
    assert signed_with(bucket.url("a.txt", NOW))[1] == f"t{TRIES + 1}"


def test_old_keys_that_still_serve_are_not_asked_for_at_each_url(s3: S3, address: Address) -> None:
    bucket = bucket_of(s3, address)
    address.lasts = timedelta(minutes=4)
    first = signed_with(bucket.url("a.txt", NOW))
    address.status = 500
    assert {signed_with(bucket.url(f"{n}.txt", NOW)) for n in range(50)} == {first}
    assert address.asked == 1 + TRIES


def test_an_endless_answer_of_the_address_is_none(s3: S3, address: Address) -> None:
    address.padding = 70_000
    with pytest.raises(StorageUnavailable):
        bucket_of(s3, address).url("a.txt", NOW)


def test_an_answer_that_drips_is_cut_at_the_deadline(s3: S3, address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, it would take 2 s or more, and each byte comes in time."""
    monkeypatch.setattr("shared.storage.role.ASK_TIMEOUT", 0.3)
    address.pause = 0.02
    with pytest.raises(StorageUnavailable):
        bucket_of(s3, address).url("a.txt", NOW)
    assert address.asked == 1


@pytest.fixture
def on_lambda(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in {
        **GOOD,
        "STORAGE_URL": "s3://films",
        "AWS_REGION": "eu-west-1",
        "AWS_LAMBDA_FUNCTION_NAME": "submit",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", TOKEN)
    monkeypatch.delenv("USE_REDIS_FOR_TASKS", raising=False)
    return monkeypatch


def test_a_function_with_snapstart_starts_without_keys(on_lambda: pytest.MonkeyPatch) -> None:
    on_lambda.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9001/v2/credentials")
    assert load_settings().asks_for_keys
    on_lambda.setenv("STORAGE_ACCESS_KEY_ID", "films")
    with pytest.raises(SettingsError, match="STORAGE_SECRET_ACCESS_KEY is missing"):
        load_settings()
    on_lambda.setenv("STORAGE_SECRET_ACCESS_KEY", "f8a7b6c5d4e3f2a1b0c9")
    assert not load_settings().asks_for_keys


@pytest.mark.parametrize("host", ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", "localhost:9001"])
def test_the_addresses_of_ecs_and_eks_are_asked_for_keys(on_lambda: pytest.MonkeyPatch, host: str) -> None:
    on_lambda.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://{host}/v1/credentials")
    assert load_settings().asks_for_keys


def test_the_token_of_a_file_is_read_at_each_question(
    s3: S3, address: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.storage.role.FAILS_FOR", 0)
    file = tmp_path / "token"
    file.write_text("of-yesterday")
    values: dict[str, Any] = {**NO_KEYS, "aws_container_credentials_full_uri": address.uri}
    bucket = Bucket(s3_settings(s3, "films", **values, aws_container_authorization_token_file=str(file)))
    with pytest.raises(StorageUnavailable):
        bucket.url("a.txt", NOW)
    file.write_text(f"{TOKEN}\n")
    assert signed_with(bucket.url("a.txt", NOW))[0].startswith("ASIA")


def test_the_token_is_sent_to_this_machine_only(on_lambda: pytest.MonkeyPatch) -> None:
    for uri in ("http://films.acme.dev/", "https://127.0.0.1/", "http://127.0.0.1.acme.dev/", "http://"):
        on_lambda.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri)
        with pytest.raises(SettingsError, match="AWS_CONTAINER_CREDENTIALS_FULL_URI"):
            load_settings()
