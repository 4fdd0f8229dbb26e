"""Where errors and spans are sent, beside the log."""

import os
import re
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr

from shared.addresses import is_public, is_public_name
from shared.config.addresses import fault_of_address
from shared.config.credentials import text_of
from shared.config.environment import EnvironmentSettings

HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
SECRET = re.compile("auth|cookie|key|secret|team|token")  # in the name of a header
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
        if not all(sign for _, sign, _ in pairs):
            raise ValueError
        if not all(HEADER.fullmatch(name) and value.isascii() and value.isprintable() for name, value in found.items()):
            raise ValueError
        return found

    def faults(self) -> list[str]:
        return [*self._faults_of_sentry(), *self._faults_of_collector(), *super().faults()]

    def _faults_of_sentry(self) -> list[str]:
        dsn = text_of(self.sentry_dsn)
        is_one = self.sentry_dsn is None or (DSN.fullmatch(dsn) and _is_url(dsn))
        return [] if is_one else ["SENTRY_DSN must be https://key@host/project, as Sentry shows it"]

    def _faults_of_collector(self) -> list[str]:
        url, problems, headers = self.otel_exporter_otlp_endpoint or "", [], {}
        try:
            headers = self.otlp_headers
        except ValueError:
            problems.append("OTEL_EXPORTER_OTLP_HEADERS must be name=value, several separated by commas")
        # A collector is most times in the same network, so http is allowed.
        fault = fault_of_address(url, may_be_plain=True) if url else None
        if fault:
            return [*problems, f"OTEL_EXPORTER_OTLP_ENDPOINT {fault}; such as http://collector:4318"]
        if url.rstrip("/").endswith("/v1/traces"):
            problems.append("OTEL_EXPORTER_OTLP_ENDPOINT must be without /v1/traces, which each export adds")
        host = urlsplit(url).hostname or ""
        is_open = url.lower().startswith("http:") and (is_public(host) or is_public_name(host))
        if is_open and any(SECRET.search(name) for name in headers):  # mutant: headers in the open
            problems.append("OTEL_EXPORTER_OTLP_ENDPOINT must be https, since it would send its headers unencrypted")
        return problems


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and not parts.query and not parts.fragment and parts.port != 0
    except ValueError:  # of the port, or of an IPv6 address
        return False
