"""Who may call a deployment, and the secrets that prove it."""

import functools
import re
from collections.abc import Iterable

from pydantic import Field, SecretStr

from shared.config.credentials import MIN_SECRET, fault_of_key, placeholder_in_keys, text_of
from shared.config.environment import EnvironmentSettings

EVERY_OWNER = "*"  # in place of an owner's name: an operator, who reads what each owner has; no API key has this name


def may_read(caller: str, owner: str | None) -> bool:
    """Returns whether the caller, an owner or EVERY_OWNER, may read what this owner has; None has nothing."""
    return owner is not None and caller in (owner, EVERY_OWNER)  # mutant: reader


class AccessSettings(EnvironmentSettings):
    """The keys of callers, of the operator and of the scheduler."""

    api_keys: SecretStr | None = None  # name:key[,name:key...]
    signing_secret: SecretStr | None = None  # job ids from idempotency keys, and the nonce in webhook URLs
    queue_processor_token: SecretStr | None = None
    operator_token: SecretStr | None = None  # may pause, limit and redrive; without it these calls are refused
    metrics_token: SecretStr | None = None  # may read the metrics, and nothing else
    cron_secret: SecretStr | None = None  # Vercel wants 16 characters or more
    audit_entries: int = Field(0, ge=0, le=100_000)  # that the store keeps, about 200 bytes each; 0: the log only

    @property
    def signing_key(self) -> str:
        """The key of ids and nonces; only development may do without a secret one."""
        if self.signing_secret is None and not self.is_development:
            raise RuntimeError("this function does not get SIGNING_SECRET, and must sign nothing")
        return text_of(self.signing_secret) or "development"

    @functools.cached_property
    def callers(self) -> dict[str, str]:
        """The API keys by name."""
        pairs = (pair.partition(":") for pair in self._key_pairs())
        return {name.strip(): key.strip() for name, _, key in pairs}

    def _key_pairs(self) -> list[str]:
        return [pair.strip() for pair in text_of(self.api_keys).split(",") if pair.strip()]

    def faults(self) -> list[str]:
        required = ["signing_secret", "queue_processor_token"]
        if self.api_keys is None:
            required.insert(0, "api_keys")
        if self.cron_secret is not None:
            required.append("cron_secret")
        problems = [*self._absent(*required), *self._guessable(), *self._faults_of_keys()]
        if self.is_development and self.cron_secret and self.cron_secret == self.queue_processor_token:
            problems.append("QUEUE_PROCESSOR_TOKEN and CRON_SECRET must differ: a GET with CRON_SECRET is a tick")
        # A secret of the deployment must be longer than another service's, and one line says so.
        said = [line.partition(" must have ")[0] for line in problems if " must have " in line]
        return problems + [line for line in super().faults() if line.partition(" has fewer ")[0] not in said]

    def _faults_of_keys(self) -> list[str]:
        """What is wrong with API_KEYS. A key is called by its number: what is in the place of a name may be the key."""
        if shown := placeholder_in_keys(text_of(self.api_keys)):
            return [f"API_KEYS is a placeholder ({shown}); write name:key[,name:key...]"]
        problems = []
        if not self.is_development:
            found = {number: fault_of_key(key) for number, key in enumerate(self._keys(), 1)}
            problems += [f"API_KEYS: key number {number} {fault}" for number, fault in found.items() if fault]
        if len(self._keys()) < len(self._key_pairs()):
            problems.append("API_KEYS has a key without its name; write name:key[,name:key...]")
        elif any(not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) or not key for name, key in self.callers.items()):
            problems.append("API_KEYS must be name:key[,name:key...] with names of letters, digits, . _ -")
        count = len(self._key_pairs())
        if count != len(self.callers) or count != len(set(self.callers.values())):
            problems.append("API_KEYS names a key twice, or gives two names the same key")
        return problems

    @property
    def shown_names(self) -> str:
        """The names of API_KEYS for a message; '' if one of them may be a key in the wrong place."""
        return "" if any(fault_of_key(key) for key in self.callers.values()) else ", ".join(sorted(self.callers))

    def unknown_names(self, setting: str, names: Iterable[str]) -> list[str]:
        """The fault of a setting that names keys that API_KEYS does not have; none if it has all of them."""
        unknown = sorted(set(names) - set(self.callers))
        if not unknown:
            return []
        if set(unknown) & set(self.callers.values()):
            return [f"{setting} has a key itself in the place of its name"]
        known = f"; its names are: {self.shown_names}" if self.shown_names else ""
        return [f"{setting} names {', '.join(unknown)}, which API_KEYS does not have{known}"]

    def _guessable(self) -> list[str]:
        """Outside development, the deployment's own secrets that an attacker could guess."""
        if self.is_development:
            return []
        own = {
            "SIGNING_SECRET": self.signing_secret,
            "QUEUE_PROCESSOR_TOKEN": self.queue_processor_token,
            "OPERATOR_TOKEN": self.operator_token,
            "METRICS_TOKEN": self.metrics_token,
            "CRON_SECRET": self.cron_secret,
        }
        short = [name for name, secret in own.items() if secret is not None and len(text_of(secret)) < MIN_SECRET]
        return [
            *(f"{name} must have {MIN_SECRET} characters or more" for name in short),
            *self._equal(own),
        ]

    def _keys(self) -> list[str]:
        return [pair.partition(":")[2].strip() for pair in self._key_pairs() if ":" in pair]

    def _equal(self, own: dict[str, SecretStr | None]) -> list[str]:
        """Which secrets of different roles are the same text: a caller with one of them would have both roles."""
        holders: dict[str, list[str]] = {}
        for name, secret in own.items():
            if secret is not None:
                holders.setdefault(text_of(secret), []).append(name)
        for key in set(self._keys()) & set(holders):
            holders[key].append("a key of API_KEYS")
        return [f"{' and '.join(names)} must differ" for names in holders.values() if len(names) > 1]
