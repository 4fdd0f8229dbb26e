"""Where and how owners are notified."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from shared.config.access import AccessSettings
from shared.config.addresses import is_loopback_url
from shared.signing.webhooks import secret_key

Event = Literal["job.processing", "job.completed", "job.files", "job.failed", "job.canceled", "batch.completed"]
DEFAULT_EVENTS: tuple[Event, ...] = ("job.completed", "job.files", "job.failed", "job.canceled", "batch.completed")
MIN_BYTES, MAX_BYTES = 24, 64  # of a secret (Standard Webhooks, specification: "Signature scheme")


class HookOptions(BaseModel):
    """The default hook of one API key. Two secrets sign while one replaces the other."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    url: Annotated[str, Field(max_length=2000)] | None = None
    events: tuple[Event, ...] = DEFAULT_EVENTS
    secrets: Annotated[tuple[SecretStr, ...], Field(max_length=2)] = ()


class HookSettings(AccessSettings):
    """The hooks of all API keys."""

    # JSON by API key's name: {"app": {"url": "https://...", "events": ["job.completed"], "secrets": ["whsec_..."]}}
    hooks: dict[str, HookOptions] = Field(default_factory=dict)
    allow_loopback: bool = False  # development only: hooks and results may be on this machine, over http

    def faults(self) -> list[str]:
        problems = []
        if self.allow_loopback and not self.is_development:
            problems.append("ALLOW_LOOPBACK is for development: it lets callers reach this machine")
        problems += self.unknown_names("HOOKS", self.hooks)
        urls = [options.url for options in self.hooks.values() if options.url is not None]
        if not all(is_deliverable(url, allow_loopback=self.allow_loopback) for url in urls):
            problems.append("HOOKS: a url must be https, of a host by its name, without port and credentials")
        secrets = [secret.get_secret_value() for options in self.hooks.values() for secret in options.secrets]
        if not all(_is_usable(secret) for secret in secrets):
            problems.append(f"HOOKS: a secret is whsec_ and base64 of {MIN_BYTES} to {MAX_BYTES} bytes")
        return problems + super().faults()


def is_deliverable(url: str, *, allow_loopback: bool) -> bool:
    """Whether a request to the URL may be tried at all; each try then checks the addresses of its host."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if allow_loopback and is_loopback_url(url):
        return parts.scheme in ("http", "https")
    is_named = "." in host and not host.replace(".", "").isdigit() and ":" not in host
    return parts.scheme == "https" and is_named and port in (None, 443) and "@" not in parts.netloc


def _is_usable(secret: str) -> bool:
    try:
        return secret.startswith("whsec_") and MIN_BYTES <= len(secret_key(secret)) <= MAX_BYTES
    except ValueError:
        return False
