"""Presigned URLs: each allows one kind of request to an S3 bucket for a while, without further credentials.

AWS, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)"; R2 accepts the same. It is written out
here because obstore's ``sign`` binds no headers, and an upload's URL must fix the type and the size.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from shared.frozen import dataclass

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Credentials:
    """The credentials that sign. A session token belongs to temporary ones, such as a Lambda function's role has."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


def presign(
    method: str,
    *,
    endpoint: str | None,
    bucket: str,
    key: str,
    region: str,
    credentials: Credentials,
    expires_in: int,
    now: int,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
) -> str:
    """Returns a URL that is valid for ``method`` and exactly these headers, for ``expires_in`` s after ``now`` (ms).

    ``query`` adds parameters of the request itself, such as ``response-content-disposition``.
    """
    address = address_of(endpoint, bucket, key, region)
    moment = datetime.fromtimestamp(now // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    signed = {name.lower(): " ".join(value.split()) for name, value in (headers or {}).items()}
    signed = dict(sorted({**signed, "host": urlsplit(address).netloc}.items()))
    parameters = {
        **(query or {}),
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key_id}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(expires_in),
        "X-Amz-SignedHeaders": ";".join(signed),
    }
    if credentials.session_token:
        parameters["X-Amz-Security-Token"] = credentials.session_token
    canonical_query = "&".join(sorted(f"{_encoded(name)}={_encoded(value)}" for name, value in parameters.items()))
    canonical_headers = "".join(f"{name}:{value}\n" for name, value in signed.items())
    canonical = "\n".join(
        [method, urlsplit(address).path, canonical_query, canonical_headers, ";".join(signed), "UNSIGNED-PAYLOAD"]
    )
    text = "\n".join([ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signature = _hmac(_signing_key(credentials.secret_access_key, scope), text).hex()
    return f"{address}?{canonical_query}&X-Amz-Signature={signature}"


def address_of(endpoint: str | None, bucket: str, key: str, region: str) -> str:
    """Returns an object's URL without a query: path style at a custom endpoint, else the bucket's host at AWS.

    AWS's wildcard certificate does not cover the host of a bucket with dots in its name; its URL has path style too.
    """
    path = quote(key, safe="/~")
    if endpoint:
        return f"{endpoint.rstrip('/')}/{bucket}/{path}"
    if "." in bucket:
        return f"https://s3.{region}.amazonaws.com/{bucket}/{path}"
    return f"https://{bucket}.s3.{region}.amazonaws.com/{path}"


def _encoded(text: str) -> str:
    return quote(text, safe="~")


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
