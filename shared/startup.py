"""Reads a deployment's settings and refuses to start with faulty ones."""

import os
from typing import Any

from pydantic import ValidationError

from shared.config.settings import Settings


class SettingsError(Exception):
    """The deployment cannot start with its settings; the message names each faulty one, and shows no value."""


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
    env_file = ".env" if environment == "development" else None
    try:
        settings = Settings(_env_file=env_file, **from_platform(os.environ))
    except ValidationError as error:
        faults = [
            f"{_name(fault['loc'])}{fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
            # This error names a derived setting, but another one is faulty.
            if fault["type"] != "default_factory_not_called"
        ]
        raise SettingsError("Sluice cannot start: " + "; ".join(faults)) from None
    except ValueError as error:
        raise SettingsError(f"Sluice cannot start: {error}") from None
    if problems := provider_faults(settings):
        raise SettingsError("Sluice cannot start: " + "; ".join(problems))
    return settings


def provider_faults(settings: Settings) -> list[str]:
    """Returns the faults of providers that read their own settings; Settings itself checks Replicate's."""
    others = [name for name in settings.provider_names if name != "replicate"]
    if not others:
        return []
    from shared.providers.loading import provider_class  # here, because most deployments need no such module

    return [fault for name in others for fault in provider_class(name).faults(settings)]


def _name(location: tuple[int | str, ...]) -> str:
    return f"{str(location[0]).upper()}: " if location else ""
