"""The environment of the stack's children: the developer's settings, and local values for the rest.

    flags of the stack > environment > .env > values made here

Secrets made here are random. ``<data-dir>/local.env`` keeps them, so that API keys and stored jobs survive a restart.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from local.children import ROOT
from local.configuration import Configuration
from local.ports import HOST
from local.simulator.running import new_text_secret, new_webhook_secret
from shared.config.credentials import placeholder_in, placeholder_in_keys
from shared.env_file import setting_names
from shared.proxies import NAMES, readable

STORE_URLS = ("UPSTASH_REDIS_REST_URL", "KV_REST_API_URL")
FALSE = ("0", "false", "f", "no", "n", "off")
# A copied .env.example leaves placeholders. Other tools read these too, or their values may be words like "todo".
NEVER_PLACEHOLDERS = ("AWS_", "STORAGE_")
REAL_PREFIX = "sluice:development:replicate"
DEVELOPMENT = ("development", "test")
# A developer watches and waits, so the times are shorter than a deployment's.
IMPATIENCE = {"FIRST_CHECK_AFTER": "1", "QUEUE_RETRY_DELAY": "5000", "STATISTICS": "true"}


class Environment:
    """Decides which parts of the stack run, and makes the environment of all of them."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        given = {} if configuration.sealed else given_settings(os.environ, ROOT / ".env")
        self._given = {**given, **configuration.settings}
        self.is_in_memory = configuration.memory or self._given.get("USE_REDIS_FOR_TASKS", "").lower() in FALSE
        self.needs_store = not self.is_in_memory and not any(name in self._given for name in STORE_URLS)
        self.needs_simulator = "REPLICATE_API_TOKEN" not in self._given
        self.simulates_wavespeed = self.needs_simulator and "WAVESPEED_API_KEY" not in self._given

    def variables(self, ports: Mapping[str, int]) -> dict[str, str]:
        """Returns the whole environment of a child, with the addresses that these ports give."""
        others = {name: value for name, value in os.environ.items() if name.upper() not in setting_names()}
        made = {
            "SLUICE_ENV": "development",
            "PUBLIC_BASE_URL": f"http://{HOST}:{ports['functions']}",
            "ALERT_LOG": "true",
            **IMPATIENCE,
            **local_secrets(None if self._configuration.fresh else self._configuration.data_dir / "local.env"),
        }
        made |= self._results()
        forced = {}
        if self.is_in_memory:
            forced["USE_REDIS_FOR_TASKS"] = "false"
        if self.needs_store:
            forced["UPSTASH_REDIS_REST_URL"] = f"http://{HOST}:{ports['store']}"
        else:
            del made["UPSTASH_REDIS_REST_TOKEN"]
        if self.needs_simulator:
            forced["REPLICATE_BASE_URL"] = f"http://{HOST}:{ports['provider']}/v1"
        else:
            del made["REPLICATE_API_TOKEN"], made["REPLICATE_WEBHOOK_SECRET"]
            # No job that was queued for the simulator goes to Replicate, where it would cost money.
            made["QUEUE_PREFIX"] = REAL_PREFIX
        if self.simulates_wavespeed:
            made["PROVIDERS"] = "replicate,wavespeed"
            forced["WAVESPEED_BASE_URL"] = f"http://{HOST}:{ports['provider']}/api/v3"
        else:
            del made["WAVESPEED_API_KEY"], made["WAVESPEED_WEBHOOK_SECRET"]
        return {
            **others,
            **_beside_any_proxy(is_local=self._is_local),
            **made,
            **self._given,
            **forced,
            "PYTHONUNBUFFERED": "1",
        }

    @property
    def _is_local(self) -> bool:
        """Whether no part of the stack calls another machine."""
        has_store = self.needs_store or self.is_in_memory
        return has_store and self.simulates_wavespeed and not self._given.get("STORAGE_URL", "").startswith("s3:")

    def _results(self) -> dict[str, str]:
        """Where results are kept; the provider's files and the owners' endpoints may be on this machine."""
        made = {}
        is_development = self._given.get("SLUICE_ENV", "development") in DEVELOPMENT
        if is_development:
            made["ALLOW_LOOPBACK"] = "true"
        if not self._configuration.fresh:
            made["STORAGE_URL"] = (self._configuration.data_dir / "storage").resolve().as_uri()
        elif is_development:
            made["STORAGE_URL"] = "memory://"  # outside development it is refused; then no file is kept
        return made


def first_api_key(environment: Mapping[str, str]) -> str:
    """Returns the first key of API_KEYS."""
    return environment["API_KEYS"].partition(",")[0].partition(":")[2].strip()


def is_in_memory(environment: Mapping[str, str]) -> bool:
    """Whether jobs are kept in the functions' process, without a store."""
    return environment.get("USE_REDIS_FOR_TASKS") == "false"


def given_settings(environ: Mapping[str, str], env_file: Path) -> dict[str, str]:
    """Returns the developer's settings; empty ones and placeholders of a copied example do not count."""
    # As in the functions, .env belongs to development.
    in_file = dotenv_values(env_file) if environ.get("SLUICE_ENV", "development") == "development" else {}
    names = setting_names()
    found = {name.upper(): value for name, value in {**in_file, **environ}.items() if value and name.upper() in names}
    return {name: value for name, value in found.items() if not _is_placeholder(name, value)}


def _is_placeholder(name: str, value: str) -> bool:
    if name.startswith(NEVER_PLACEHOLDERS):
        return value.startswith("<")
    if name == "API_KEYS":
        return placeholder_in_keys(value) is not None
    is_secret = name.endswith(("_TOKEN", "_SECRET", "_KEY", "_URL"))
    return is_secret and placeholder_in(value) is not None


def local_secrets(kept_in: Path | None) -> dict[str, str]:
    """Returns this machine's secrets: from the file, and random ones for those it lacks, which it then keeps."""
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


def _beside_any_proxy(*, is_local: bool) -> dict[str, str]:
    """Keeps a proxy that the developer's environment names away from the calls between children.

    A stack that calls nothing outside uses no proxy at all.
    """
    kept, _ = readable(os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "")
    value = ",".join([*kept, HOST])
    unused = {variant: "" for name in NAMES for variant in (name, name.lower())} if is_local else {}
    return {"NO_PROXY": value, "no_proxy": value, **unused}
