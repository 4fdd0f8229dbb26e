"""URLs of stored files: a bucket's public ones, URLs presigned for S3, or signed URLs of this deployment's route."""

import functools
import hmac
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlencode, urlsplit

from shared.config.credentials import text_of
from shared.config.storage import MAX_URL_TTL, R2
from shared.signing.derived import file_tag
from shared.signing.s3 import Credentials, presign

if TYPE_CHECKING:
    from shared.config.settings import Settings
    from shared.storage.role import Role

ROUTE = "/api/files/"
WINDOWS = 4  # per STORAGE_URL_TTL; within a window, a key's URL stays the same


class Links:
    """Makes URLs without a call to the storage.

    |---------- window ----------|---------- window ----------| ...
    ^ time in the signature ^ returned to a caller                  valid for STORAGE_URL_TTL after the window's end ^

    All URLs of a key that are made in one window, a quarter of STORAGE_URL_TTL, are the same text. So a status does not
    change each time it is read.
    """

    def __init__(self, settings: "Settings") -> None:
        self.settings = settings
        location = urlsplit(settings.storage_location or "")
        self.bucket = location.netloc
        given = unquote(location.path).strip("/") if settings.storage_scheme == "s3" else ""
        self.prefix = f"{given}/{own_folder(settings)}".strip("/")

    @property
    def endpoint(self) -> str | None:
        """The URL of the bucket's S3 API; None for AWS."""
        return (self.settings.storage_endpoint or "").rstrip("/") or None

    @property
    def server(self) -> str:
        """The URL of the server that has the bucket."""
        return self.endpoint or f"https://s3.{self.region}.amazonaws.com"

    @property
    def region(self) -> str:
        """The region that requests are signed for. R2 knows only ``auto``, which AWS does not know.

        Lambda sets AWS_REGION, which R2 must ignore. Cloudflare, R2: "S3 API compatibility", "Bucket region".
        """
        if (urlsplit(self.endpoint or "").hostname or "").endswith(R2):
            return "auto"
        region = self.settings.storage_region
        return "us-east-1" if region == "auto" and self.endpoint is None else region

    @functools.cached_property
    def role(self) -> "Role":
        """The role whose keys are asked for, where there are no others."""
        from shared.storage.role import Role

        settings = self.settings
        token, token_file = settings.aws_container_authorization_token, settings.aws_container_authorization_token_file
        return Role(settings.aws_container_credentials_full_uri or "", text_of(token), token_file)

    @property
    def credentials(self) -> Credentials:
        """The credentials of now. Raises StorageUnavailable if a role's cannot be had."""
        return self.role.keys().credentials if self.settings.asks_for_keys else Credentials(*self.settings.storage_keys)

    def url(self, key: str, now: int, filename: str | None = None, *, at_least: float = 0) -> str:
        """Returns a URL from which everyone who has it can GET the file; ``now`` in ms.

        It is valid for at least the longer of STORAGE_URL_TTL and ``at_least`` s, but at most a week. A URL signed with
        temporary credentials expires with them. With ``filename``, a browser saves the file under that name; public
        URLs carry no name.
        """
        settings = self.settings
        if settings.storage_public_url:
            return f"{settings.storage_public_url.rstrip('/')}/{quote(self._in_bucket(key), safe='/~')}"
        window = settings.storage_url_ttl * 1000 // WINDOWS
        signed_at = now // window * window
        lasts = min(max(settings.storage_url_ttl, round(at_least)) + window // 1000, MAX_URL_TTL)
        if settings.storage_scheme == "s3":
            query = {"response-content-disposition": disposition(filename)} if filename else {}
            return self._presigned("GET", key, signed_at, lasts, query=query)
        named = {"filename": filename} if filename else {}
        return self._own("GET", key, signed_at // 1000 + lasts, [*named.values()], named)

    def upload_url(self, key: str, now: int, content_type: str, size: int) -> tuple[str, dict[str, str]]:
        """Returns a URL to PUT a file of this type and size (bytes) for STORAGE_URL_TTL s, and the headers to send.

        The storage, or this deployment's file route, refuses any other type or length.
        """
        headers = {"Content-Type": content_type, "Content-Length": str(size)}
        if self.settings.storage_scheme == "s3":
            return self._presigned("PUT", key, now, self.settings.storage_url_ttl, headers=headers), headers
        expires = now // 1000 + self.settings.storage_url_ttl
        return self._own("PUT", key, expires, [content_type, str(size)]), headers

    def verify_file_url(self, method: str, key: str, query: Mapping[str, str], now: int, *conditions: str) -> bool:
        """Whether the file route may serve this request: GET or HEAD, or PUT with its type and length as conditions.

        ``key`` is the decoded path after ROUTE. Never raises for any query; compares the tag in constant time.
        """
        expires = query.get("expires", "")
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
            return False
        if "filename" in query:
            conditions = (*conditions, query["filename"])
        signed = "GET" if method == "HEAD" else method
        tag = file_tag(self.settings.signing_key, signed, key, int(expires), *conditions)
        given = query.get("signature", "").encode("utf-8", "replace")
        return hmac.compare_digest(given, tag.encode()) and now <= int(expires) * 1000

    def _own(
        self, method: str, key: str, expires: int, conditions: Sequence[str], named: Mapping[str, str] | None = None
    ) -> str:
        tag = file_tag(self.settings.signing_key, method, key, expires, *conditions)
        query = urlencode({"expires": expires, "signature": tag, **(named or {})})
        return f"{self.settings.public_base_url or ''}{ROUTE}{quote(key, safe='/~')}?{query}"

    def _presigned(
        self,
        method: str,
        key: str,
        now: int,
        expires_in: int,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> str:
        return presign(
            method,
            endpoint=self.endpoint,
            bucket=self.bucket,
            key=self._in_bucket(key),
            region=self.region,
            credentials=self.credentials,
            expires_in=expires_in,
            now=now,
            headers=headers,
            query=query,
        )

    def _in_bucket(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key


def own_folder(settings: "Settings") -> str:
    """Returns this deployment's folder in the storage; retention and erasure walk through this folder only.

    It follows the prefix of the store's keys: ``sluice:preview`` becomes ``sluice/preview``.
    """
    parts = filter(None, settings.prefix.split(":"))
    return "/".join(part if part.strip(".") else f"_{part}" for part in parts)  # `..` would leave the folder


def disposition(filename: str) -> str:
    """Returns a Content-Disposition with this file name (RFC 6266); quotes and controls become underscores."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
