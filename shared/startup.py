"""Reads a deployment's settings and refuses to start with faulty ones."""

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError
from structlog.typing import Processor

from shared import tracing
from shared.config.environment import is_on_a_platform
from shared.config.fault_lines import line_of_json, lines_of
from shared.config.settings import Settings
from shared.config.store import faults_of_tcp
from shared.env_file import ENV_FILE, misspelt, variables
from shared.log import configure_logs, log
from shared.proxies import drop_unreadable, faults_of_proxies

UNREAD = (
    f"{ENV_FILE} was not read: only development reads it, and the environment itself must say so:"
    " SLUICE_ENV=development uvicorn functions.index:app"
)
LOW_DEFAULT = "PRICES: `default` is not the dearest price, and a model named by its version or in another case has it"


@dataclass(frozen=True)
class Caution:
    """What the log warns of at a start: its name, and a sentence without values."""

    event: str
    consequence: str


class SettingsError(Exception):
    """The deployment cannot start with its settings; each fault is one line, which names the setting and no value."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(f"Sluice cannot start: {fault}" for fault in faults))


def from_platform(environ: "os._Environ[str] | dict[str, str]") -> dict[str, Any]:
    """Returns the settings that Vercel's own variables give: the environment and the public address."""
    known: dict[str, Any] = {}
    if not environ.get("SLUICE_ENV") and environ.get("VERCEL_ENV"):
        known["sluice_env"] = environ["VERCEL_ENV"]
    name = "VERCEL_PROJECT_PRODUCTION_URL" if environ.get("VERCEL_ENV") == "production" else "VERCEL_URL"
    if not environ.get("PUBLIC_BASE_URL") and environ.get(name):
        known["public_base_url"] = f"https://{environ[name]}"
    return known


def load_settings() -> Settings:
    """Reads the environment, and in development a ``.env`` file; raises SettingsError, which names each fault."""
    environment = os.environ.get("SLUICE_ENV") or os.environ.get("VERCEL_ENV") or "production"
    env_file = ENV_FILE if environment == "development" else None
    try:
        settings = Settings(_env_file=env_file, **from_platform(os.environ))
    except ValidationError as error:
        faults = lines_of(error)
    except ValueError as error:
        faults = [line_of_json(str(error))]
    else:
        faults = [
            *provider_faults(settings),
            *store_faults(settings),
            *mail_faults(settings),
            *key_faults(settings),
            *telemetry_faults(settings),
            *faults_of_proxies(os.environ, bucket_host=_bucket_host(settings)),
        ]
        if not faults:
            return settings
    raise SettingsError([*_causes(environment), *faults]) from None


def _causes(environment: str) -> list[str]:
    """Returns what may be the cause of all faults, which therefore comes first."""
    if is_unread(environment):
        return [UNREAD]
    return _misspelt({**(variables() if environment == "development" else {}), **os.environ}, os.environ)


def _misspelt(given: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    return [f"{name} is no setting; {near} is" for name, near in misspelt(given, {**given, **environ}).items()]


def _bucket_host(settings: Settings) -> str:
    """Returns the host of the bucket; '' without one."""
    from shared.storage.links import Links

    return urlsplit(Links(settings).server).hostname or "" if settings.storage_scheme == "s3" else ""


def is_unread(environment: str) -> bool:
    """Whether there is a ``.env`` file that only development would read."""
    return environment != "development" and not is_on_a_platform() and os.path.exists(ENV_FILE)


def cautions(settings: Settings) -> list[Caution]:
    """Returns what is allowed, and may still be an oversight."""
    found = []
    if is_unread(settings.environment):
        found.append(Caution("env_file_unread", UNREAD))
    found += _store_cautions(settings)
    if not settings.is_development and not settings.public_base_url:
        found.append(Caution("no_public_base_url", "PUBLIC_BASE_URL is not set: providers send no webhooks"))
    if settings.budget_limits and settings.is_default_low:
        found.append(Caution("default_price_is_low", LOW_DEFAULT))
    if settings.environment == "development":
        found += [Caution("unknown_setting", line) for line in _misspelt(variables(), os.environ)]
        if names := settings.placeholders():
            found.append(Caution("placeholders", f"a deployment would not start: {', '.join(names)}"))
    return found


def _store_cautions(settings: Settings) -> list[Caution]:
    found = []
    if settings.storage_mode == "memory":
        if not settings.is_development:
            found.append(Caution("memory_mode", "all jobs end with this process, and no other process sees them"))
        if settings.upstash_redis_rest_url:
            found.append(Caution("store_unused", "USE_REDIS_FOR_TASKS=false: UPSTASH_REDIS_REST_URL is not used"))
    return found


def store_faults(settings: Settings) -> list[str]:
    """Returns why development has no store. It needs no secrets, but a store or memory mode."""
    if settings.environment != "development" or not settings.use_redis_for_tasks or settings.upstash_redis_rest_url:
        return []
    if hint := faults_of_tcp(variables()):
        return hint
    return ["UPSTASH_REDIS_REST_URL is missing; `make dev` brings a store, and USE_REDIS_FOR_TASKS=false needs none"]


def mail_faults(settings: Settings) -> list[str]:
    """Returns why mails could not be sent: the client of SMTP is no package that every deployment has."""
    if settings.smtp_url is None or find_spec("aiosmtplib") is not None:
        return []
    return ["SMTP_URL needs the packages of requirements-mail.txt"]


def provider_faults(settings: Settings) -> list[str]:
    """Returns the faults of providers that read their own settings; Settings itself checks Replicate's."""
    others = [name for name in settings.provider_names if name != "replicate"]
    if not others:
        return []
    from shared.providers.loading import provider_class  # here, because most deployments need no such module

    return [fault for name in others for fault in provider_class(name).faults(settings)]


def key_faults(settings: Settings) -> list[str]:
    """Returns why the public keys of JWTs cannot be used; most deployments have none, and do not load the library."""
    name = "JWT_PUBLIC_KEY" if settings.jwt_public_key else "JWT_JWKS_URL" if settings.jwt_jwks_url else ""
    if not name:
        return []
    if find_spec("cryptography") is None:
        return [f"{name} needs a library: pip install -r requirements-jwt.txt"]
    if not settings.jwt_public_key:
        return []
    from shared.access.jwt_keys import MIN_RSA, key_of_pem

    kinds = f"RSA with {MIN_RSA} bits or more, EC on P-256 or Ed25519"
    return [] if key_of_pem(settings.jwt_public_key) else [f"JWT_PUBLIC_KEY must be a public key in PEM: {kinds}"]


def telemetry_faults(settings: Settings) -> list[str]:
    """Returns why nothing could be sent: the libraries are no packages that every deployment has."""
    if settings.sentry_dsn is not None and find_spec("sentry_sdk") is None:
        return ["SENTRY_DSN needs a library: pip install -r requirements-sentry.txt"]
    if settings.otel_exporter_otlp_endpoint and find_spec("opentelemetry.exporter") is None:
        return ["OTEL_EXPORTER_OTLP_ENDPOINT needs libraries: pip install -r requirements-tracing.txt"]
    return []


def _trace(settings: Settings) -> None:
    """Makes this process trace, if a collector is named."""
    if not settings.otel_exporter_otlp_endpoint:
        return
    from shared.telemetry import flushing
    from shared.telemetry.spans import Spans

    spans = Spans(settings)
    flushing.add(spans.kept)
    tracing.use(spans)


def _readers(settings: Settings) -> list[Processor]:
    """Returns what else sees the lines of the log; most deployments have nothing, and load nothing."""
    if settings.sentry_dsn is None:
        return []
    from shared.telemetry import flushing
    from shared.telemetry.reports import Reports

    reports = Reports(settings)
    flushing.add(reports)
    return [reports]


@functools.cache
def settings() -> Settings:
    """Returns the deployment's settings. SettingsError stops the import of each function."""
    loaded = load_settings()
    configure_logs(
        loaded.log_level,
        is_final=not loaded.is_development,
        is_for_people=loaded.environment == "development",
        readers=_readers(loaded),
    )
    _trace(loaded)
    if dropped := drop_unreadable(os.environ):
        log.warning("no_proxy_shortened", dropped=dropped, consequence="calls to these go through the proxy")
    for caution in cautions(loaded):
        log.warning(caution.event, consequence=caution.consequence)
    log.info(f"start storage_mode={loaded.storage_mode}", environment=loaded.environment, prefix=loaded.prefix)
    return loaded
