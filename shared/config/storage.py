"""Where a deployment keeps the files of its results."""

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr

from shared.config.credentials import fault_of_secret, text_of
from shared.config.environment import EnvironmentSettings, is_on_a_platform, is_withheld

GIB = 1024**3
MAX_URL_TTL = 604_800  # s; S3 and R2 sign for a week at most (Cloudflare, R2: presigned URLs)
R2 = ".r2.cloudflarestorage.com"
PUBLIC_R2 = ".r2.dev"  # where a public bucket of R2 may be read by everyone
# Whose hosts begin with a bucket, or whose paths end with one. Another server's name or path may do so by chance.
KNOWN_HOSTS = (
    ".amazonaws.com", ".amazonaws.com.cn", R2, ".backblazeb2.com", ".digitaloceanspaces.com", ".wasabisys.com",
    ".storage.googleapis.com",
)  # fmt: skip
# That may have a role's keys (AWS SDKs): this machine, ECS, and EKS Pod Identity
ROLE_HOSTS = ("127.0.0.1", "localhost", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23")
NAME = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]")  # no top-level domain
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")  # Amazon S3, "Bucket naming rules"


class StorageSettings(EnvironmentSettings):
    """The bucket or folder, its keys, and how long and how large files may be."""

    # s3://bucket/prefix, file:///folder; without it no file is kept, except in development, which has a folder
    storage_url: str | None = None
    storage_endpoint: str | None = None  # R2: https://<account>.r2.cloudflarestorage.com; AWS needs none
    storage_region: str = Field("auto", validation_alias=AliasChoices("storage_region", "aws_region"))
    storage_access_key_id: str | None = None
    storage_secret_access_key: SecretStr | None = None
    # Those of the Lambda's role; used only if no STORAGE_ACCESS_KEY_ID is set
    aws_access_key_id: str | None = None
    aws_secret_access_key: SecretStr | None = None
    aws_session_token: SecretStr | None = None
    # The same where SnapStart is on: an address on the machine, and the token that it wants
    aws_container_credentials_full_uri: str | None = None
    aws_container_authorization_token: SecretStr | None = None
    aws_container_authorization_token_file: str | None = None  # the same in a file, which EKS writes anew
    storage_public_url: str | None = None  # where the bucket is public; without it URLs are signed
    storage_url_ttl: int = Field(3600, ge=60, le=MAX_URL_TTL)  # s that a signed URL lasts
    storage_retention: int = Field(0, ge=0)  # s that files are kept; 0: until they are deleted
    storage_max_bytes: int = Field(5 * GIB, ge=1)  # of one file
    upload_max_bytes: int = Field(20 * 1024**2, ge=1)
    # Further hosts that providers' files may come from, each with its subdomains
    result_hosts: str = ""
    thumbnails: bool = True

    @property
    def result_host_names(self) -> tuple[str, ...]:
        """The hosts of RESULT_HOSTS."""
        return tuple(filter(None, (host.strip().lower() for host in self.result_hosts.split(","))))

    @property
    def storage_location(self) -> str | None:
        """STORAGE_URL, or development's own folder."""
        if self.storage_url or self.sluice_env != "development":
            return self.storage_url
        return Path(".sluice/storage").absolute().as_uri()

    @property
    def storage_scheme(self) -> Literal["s3", "file", "memory", ""]:
        """What kind of storage there is; '' for none."""
        match urlsplit(self.storage_location or "").scheme:
            case "s3" | "file" | "memory" as scheme:
                return scheme
            case _:
                return ""

    @property
    def storage_keys(self) -> tuple[str, str, str | None]:
        """Key id, secret and session token, all from one source; '' for what is missing, or must be asked for."""
        if self.storage_access_key_id:
            return self.storage_access_key_id, text_of(self.storage_secret_access_key), None
        token = text_of(self.aws_session_token) or None
        return self.aws_access_key_id or "", text_of(self.aws_secret_access_key), token

    @property
    def asks_for_keys(self) -> bool:
        """Whether the keys are a role's, and an address on this machine has them."""
        return not any(self.storage_keys) and self.aws_container_credentials_full_uri is not None

    def faults(self) -> list[str]:
        told = "RESULT_HOSTS must name hosts, such as files.acme.dev, without https:// and *; subdomains are included"
        problems = [] if all(map(NAME.fullmatch, self.result_host_names)) else [told]
        return [*problems, *self._storage_faults(), *super().faults()]

    def _storage_faults(self) -> list[str]:
        if not self.storage_url:
            return []
        problems, scheme = self._faults_of_place(), self.storage_scheme
        if scheme == "s3":
            problems += self._key_faults()
        if scheme == "memory" and not self.is_development:
            problems.append("STORAGE_URL=memory:// forgets everything at the end of a process")
        if scheme in ("file", "memory") and is_on_a_platform():
            problems.append("STORAGE_URL must be a bucket: a function's own disk ends with it")
        return [*problems, *self._endpoint_faults(), *self._unreachable("storage_endpoint", "storage_public_url")]

    def _faults_of_place(self) -> list[str]:
        """What is wrong with STORAGE_URL itself."""
        parts = urlsplit(self.storage_url or "")
        match self.storage_scheme:
            case "":
                return ["STORAGE_URL must begin with s3:// or file:///"]
            case "s3" if not parts.netloc:
                return ["STORAGE_URL names no bucket"]
            case "s3" if not BUCKET.fullmatch(parts.netloc):
                return ["STORAGE_URL: a bucket's name has 3 to 63 small letters, digits, dots and hyphens"]
            case "file" if parts.netloc not in ("", "localhost"):
                return ["STORAGE_URL needs three slashes: file:///folder"]
            case "s3" | "file" if parts.query or parts.fragment:
                return ["STORAGE_URL must end with a path, without ? and #"]
        return []

    def _endpoint_faults(self) -> list[str]:
        """What is wrong with the endpoint: it is missing, another address, or holds the bucket too, as R2 shows it."""
        if not self.storage_endpoint and self.storage_region == "auto" and self.storage_scheme == "s3":
            missing = "STORAGE_ENDPOINT or STORAGE_REGION is missing: R2 needs the first, S3 the second"
            return [] if self.is_development else [missing]
        try:
            parts = urlsplit(self.storage_endpoint or "")
        except ValueError:
            return []  # named as no address
        bucket, host, path = urlsplit(self.storage_url or "").netloc, parts.hostname or "", parts.path.strip("/")
        if host.endswith(PUBLIC_R2):
            return [f"STORAGE_ENDPOINT is a public address, for STORAGE_PUBLIC_URL; R2's is https://<account>{R2}"]
        if not f".{host}".endswith(KNOWN_HOSTS):
            return []  # the check at the first file finds what is wrong
        if path and (path.rpartition("/")[2] == bucket or host.endswith(R2)):
            return ["STORAGE_ENDPOINT ends with a bucket, which belongs into STORAGE_URL alone: s3://bucket/prefix"]
        if bucket and host.startswith(f"{bucket}."):
            return ["STORAGE_ENDPOINT begins with the bucket, which belongs into STORAGE_URL alone: s3://bucket/prefix"]
        return []

    def _key_faults(self) -> list[str]:
        if self.asks_for_keys:
            parts = urlsplit(self.aws_container_credentials_full_uri or "")
            if parts.scheme != "http" or parts.hostname not in ROLE_HOSTS:
                return ["AWS_CONTAINER_CREDENTIALS_FULL_URI must be http on this machine, or as ECS or EKS sets it"]
        elif not is_withheld("storage_secret_access_key"):
            names = ("storage_access_key_id", "storage_secret_access_key")
            if self.aws_access_key_id and not self.storage_access_key_id:
                names = ("aws_access_key_id", "aws_secret_access_key")
            found = {name: fault_of_secret(getattr(self, name)) for name in names}
            return [f"{name.upper()} {fault}" for name, fault in found.items() if fault]
        return []
