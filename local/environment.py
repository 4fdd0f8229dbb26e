"""The environment of the stack's children: what the developer has set, and local values for the rest.

    flags of the stack > environment > .env > values made here

Secrets made here are random and kept in ``<data-dir>/local.env``, so that API keys and stored jobs outlive a restart.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values
from pydantic import AliasChoices

from local.children import ROOT
from local.configuration import Configuration
from local.ports import HOST
from local.simulator.running import new_text_secret, new_webhook_secret
from shared.config.credentials import PLACEHOLDER
from shared.config.settings import Settings
from shared.providers.wavespeed import WaveSpeedSettings

STORE_URLS = ("UPSTASH_REDIS_REST_URL", "KV_REST_API_URL")
FALSE = ("0", "false", "f", "no", "n", "off")
# Placeholders are what a copied .env.example leaves. These are read by other tools too, or may say "todo" and mean it.
NEVER_PLACEHOLDERS = ("AWS_", "STORAGE_")
DEVELOPMENT = ("development", "test")
# A developer waits for what a deployment may take its time with.
IMPATIENCE = {"FIRST_CHECK_AFTER": "1", "QUEUE_RETRY_DELAY": "5000"}


def setting_names() -> frozenset[str]:
    """Returns every environment variable the functions read a setting from; some have names of AWS's beside ours."""
    names = set(Settings.model_fields) | set(WaveSpeedSettings.model_fields)
    for field in Settings.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            names.update(str(choice) for choice in field.validation_alias.choices)
    return frozenset(name.upper() for name in names)


class Environment:
    """Decides which parts of the stack are needed, and what all of them are told."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        given = {} if configuration.sealed else given_settings(os.environ, ROOT / ".env")
        self._given = {**given, **configuration.settings}
        self.in_memory = configuration.memory or self._given.get("USE_REDIS_FOR_TASKS", "").lower() in FALSE
        self.needs_store = not self.in_memory and not any(name in self._given for name in STORE_URLS)
        self.needs_simulator = "REPLICATE_API_TOKEN" not in self._given
        self.simulates_wavespeed = self.needs_simulator and "WAVESPEED_API_KEY" not in self._given

    def variables(self, ports: Mapping[str, int]) -> dict[str, str]:
        """Returns the whole environment of a child, with the addresses that these ports give."""
        others = {name: value for name, value in os.environ.items() if name.upper() not in setting_names()}
        made = {
            "SLUICE_ENV": "development",
            "PUBLIC_BASE_URL": f"http://{HOST}:{ports['functions']}",
            **IMPATIENCE,
            **local_secrets(None if self._configuration.fresh else self._configuration.data_dir / "local.env"),
        }
        made |= self._results()
        forced = {}
        if self.in_memory:
            forced["USE_REDIS_FOR_TASKS"] = "false"
        if self.needs_store:
            forced["UPSTASH_REDIS_REST_URL"] = f"http://{HOST}:{ports['store']}"
        else:
            del made["UPSTASH_REDIS_REST_TOKEN"]
        if self.needs_simulator:
            forced["REPLICATE_BASE_URL"] = f"http://{HOST}:{ports['provider']}/v1"
        else:
            del made["REPLICATE_API_TOKEN"], made["REPLICATE_WEBHOOK_SECRET"]
        if self.simulates_wavespeed:
            made["PROVIDERS"] = "replicate,wavespeed"
            forced["WAVESPEED_BASE_URL"] = f"http://{HOST}:{ports['provider']}/api/v3"
        else:
            del made["WAVESPEED_API_KEY"], made["WAVESPEED_WEBHOOK_SECRET"]
        return {**others, **_beside_any_proxy(), **made, **self._given, **forced, "PYTHONUNBUFFERED": "1"}

    def _results(self) -> dict[str, str]:
        """Where results are kept, and that the provider's files, and whoever is told of them, are on this machine."""
        made = {}
        is_development = self._given.get("SLUICE_ENV", "development") in DEVELOPMENT
        if is_development:
            made["ALLOW_LOOPBACK"] = "true"
        if not self._configuration.fresh:
            made["STORAGE_URL"] = (self._configuration.data_dir / "storage").resolve().as_uri()
        elif is_development:
            made["STORAGE_URL"] = "memory://"  # elsewhere refused: then nothing is kept at all
        return made


def given_settings(environ: Mapping[str, str], env_file: Path) -> dict[str, str]:
    """Returns the settings the developer has made; empty ones and placeholders of a copied example do not count."""
    # As the functions do it: .env belongs to development.
    in_file = dotenv_values(env_file) if environ.get("SLUICE_ENV", "development") == "development" else {}
    names = setting_names()
    found = {name.upper(): value for name, value in {**in_file, **environ}.items() if value and name.upper() in names}
    return {name: value for name, value in found.items() if not _is_placeholder(name, value)}


def _is_placeholder(name: str, value: str) -> bool:
    if name.startswith(NEVER_PLACEHOLDERS):
        return value.startswith("<")
    is_secret = name.endswith(("_TOKEN", "_SECRET", "_KEYS", "_KEY", "_URL"))
    return is_secret and PLACEHOLDER.search(value.strip().lower()) is not None


def local_secrets(kept_in: Path | None) -> dict[str, str]:
    """Returns this machine's own secrets: those kept in the file, where there is one, else random ones kept there."""
    made = {
        "API_KEYS": f"local:{secrets.token_hex(16)}",
        "SIGNING_SECRET": secrets.token_hex(32),
        "QUEUE_PROCESSOR_TOKEN": secrets.token_hex(16),
        "OPERATOR_TOKEN": secrets.token_hex(16),
        "CRON_SECRET": secrets.token_hex(16),
        "UPSTASH_REDIS_REST_TOKEN": secrets.token_hex(16),
        "REPLICATE_API_TOKEN": f"r8_simulated_{secrets.token_hex(8)}",
        "REPLICATE_WEBHOOK_SECRET": new_webhook_secret(),
        "WAVESPEED_API_KEY": f"simulated_{secrets.token_hex(16)}",
        "WAVESPEED_WEBHOOK_SECRET": new_text_secret(),
    }
    if kept_in is None:
        return made
    kept = {name: value for name, value in dotenv_values(kept_in).items() if value} if kept_in.exists() else {}
    if not made.keys() <= kept.keys():
        kept_in.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{name}={value}\n" for name, value in {**made, **kept}.items())
        with open(os.open(kept_in, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write("# Made by the embedded stack for this machine alone. Delete the file to get new ones.\n" + text)
    return {name: kept.get(name, value) for name, value in made.items()}


def _beside_any_proxy() -> dict[str, str]:
    """Keeps a proxy that the developer's environment names away from the calls between children."""
    exceptions = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    value = ",".join(filter(None, (exceptions, HOST)))
    return {"NO_PROXY": value, "no_proxy": value}
