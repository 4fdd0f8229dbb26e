"""Where errors and spans are sent, beside the log."""

import os
import re
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr

from shared.config.credentials import text_of
from shared.config.environment import EnvironmentSettings

HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
DSN = re.compile(r"https?://[^/@:\s]+(:[^/@\s]*)?@[^/@\s]+(/[^\s]*)?/[0-9]+")


class TelemetrySettings(EnvironmentSettings):
    """Sentry's address, OpenTelemetry's collector, and the release that both name."""

    sentry_dsn: SecretStr | None = None  # https://key@host/project
    sentry_release: str = ""
    otel_exporter_otlp_endpoint: str | None = None  # http://collector:4318
    otel_exporter_otlp_headers: SecretStr | None = None  # name=value, several separated by commas; values URL-encoded
    otel_service_name: str = "sluice"
    otel_traces_sampler_arg: float = Field(1.0, ge=0, le=1)  # the part of the traces that begin here

    @property
    def release(self) -> str:
        """SENTRY_RELEASE, or the commit that Vercel has deployed; '' if neither is known."""
        return self.sentry_release or os.environ.get("VERCEL_GIT_COMMIT_SHA", "")

    @property
    def otlp_headers(self) -> dict[str, str]:
        """The headers of an export, by name. Raises ValueError for what is none."""
        pairs = [pair.partition("=") for pair in text_of(self.otel_exporter_otlp_headers).split(",") if pair.strip()]
        found = {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}
        if not all(HEADER.fullmatch(name) and value.isascii() and value.isprintable() for name, value in found.items()):
            raise ValueError
        return found

    def faults(self) -> list[str]:
        problems = []
        if self.sentry_dsn is not None and not DSN.fullmatch(text_of(self.sentry_dsn)):
            problems.append("SENTRY_DSN must be https://key@host/project, as Sentry shows it")
        endpoint = urlsplit(self.otel_exporter_otlp_endpoint or "http://none")
        if endpoint.scheme not in ("http", "https") or not endpoint.hostname or "@" in endpoint.netloc:
            problems.append("OTEL_EXPORTER_OTLP_ENDPOINT must be a URL such as http://collector:4318")
        try:
            _ = self.otlp_headers
        except ValueError:
            problems.append("OTEL_EXPORTER_OTLP_HEADERS must be name=value, several separated by commas")
        return [*problems, *super().faults()]
