"""Presigned URLs equal those of botocore, an independent implementation."""

from datetime import UTC, datetime
from unittest import mock
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as TheirCredentials

from shared.signing.s3 import Credentials, address_of, presign

NOW = 1_800_000_000_123
ACCOUNT = "https://abc.r2.cloudflarestorage.com"
KEYS = ["results/2026-01-31/ab/job_1/0.mp4", "a b/ü+?#&=%25*'()!~_-.:@,;$/0.png", "x", "a//b/", "日本.webp"]
OURS = Credentials("AKIAEXAMPLE", "their+secret/key")
TEMPORARY = Credentials("ASIAEXAMPLE", "their+secret/key", "a/token+with=odd&signs==")
PUT = {"Content-Type": "video/mp4; codecs=a", "Content-Length": "1048577"}


def theirs(method: str, address: str, who: Credentials, headers: dict[str, str], query: dict[str, str]) -> str:
    """The URL that botocore signs for the same request at the same time."""
    moment = datetime.fromtimestamp(NOW // 1000, UTC)
    credentials = TheirCredentials(who.access_key_id, who.secret_access_key, who.session_token)
    added = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in query.items())
    request = AWSRequest(method, f"{address}?{added}" if added else address, headers=headers)
    with mock.patch("botocore.auth.get_current_datetime", return_value=moment.replace(tzinfo=None)):
        S3SigV4QueryAuth(credentials, "s3", "auto", expires=3600).add_auth(request)
    return str(request.url)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("who", [OURS, TEMPORARY], ids=["lasting", "temporary"])
@pytest.mark.parametrize(("method", "headers"), [("GET", {}), ("PUT", PUT)], ids=["GET", "PUT"])
@pytest.mark.parametrize("endpoint", [ACCOUNT, None], ids=["R2", "AWS"])
@pytest.mark.parametrize("query", [{}, {"response-content-disposition": 'attachment; filename="ü 1.mp4"'}])
def test_a_presigned_url_is_the_one_that_botocore_makes(
    key: str, who: Credentials, method: str, headers: dict[str, str], endpoint: str | None, query: dict[str, str]
) -> None:
    ours = presign(
        method, endpoint=endpoint, bucket="bucket", key=key, region="auto", credentials=who,
        expires_in=3600, now=NOW, headers=headers, query=query,
    )  # fmt: skip
    expected = theirs(method, address_of(endpoint, "bucket", key, "auto"), who, headers, query)
    assert ours.partition("?")[0] == expected.partition("?")[0]
    # The order of a query has no meaning, and botocore's differs.
    assert sorted(parse_qsl(urlsplit(ours).query)) == sorted(parse_qsl(urlsplit(expected).query))


@pytest.mark.parametrize(
    ("endpoint", "bucket", "address"),
    [
        (f"{ACCOUNT}/", "files", f"{ACCOUNT}/files/a/0.mp4"),
        (None, "files", "https://files.s3.eu-west-1.amazonaws.com/a/0.mp4"),
        (None, "files.acme.net", "https://s3.eu-west-1.amazonaws.com/files.acme.net/a/0.mp4"),
    ],
)
def test_an_object_is_addressed_as_its_endpoint_wants(endpoint: str | None, bucket: str, address: str) -> None:
    assert address_of(endpoint, bucket, "a/0.mp4", "eu-west-1") == address


def test_credentials_are_not_shown() -> None:
    assert "secret" not in repr(TEMPORARY) and "token" not in repr(TEMPORARY)
