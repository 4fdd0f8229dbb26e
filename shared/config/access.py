"""Who may call a deployment, and the secrets that prove it."""

import functools
import re

from pydantic import SecretStr

from shared.config.credentials import MIN_SECRET, is_guessable, text_of
from shared.config.environment import EnvironmentSettings


class AccessSettings(EnvironmentSettings):
    """The keys of callers, of the operator and of the scheduler."""

    api_keys: SecretStr | None = None  # name:key[,name:key...]
    signing_secret: SecretStr | None = None  # job ids from idempotency keys, and the nonce in webhook URLs
    queue_processor_token: SecretStr | None = None
    operator_token: SecretStr | None = None  # may pause, limit and redrive; without it these calls are refused
    cron_secret: SecretStr | None = None  # Vercel wants 16 characters or more

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
        required = ["api_keys", "signing_secret", "queue_processor_token"]
        if self.cron_secret is not None:
            required.append("cron_secret")
        problems = [*self._absent(*required), *self._guessable()]
        if len(self._keys()) < len(self._key_pairs()):
            problems.append("API_KEYS has a key without its name; write name:key[,name:key...]")
        elif any(not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) or not key for name, key in self.callers.items()):
            problems.append("API_KEYS must be name:key[,name:key...] with names of letters, digits, . _ -")
        count = len(self._key_pairs())
        if count != len(self.callers) or count != len(set(self.callers.values())):
            problems.append("API_KEYS names a key twice, or gives two names the same key")
        if self.cron_secret and self.cron_secret == self.queue_processor_token:
            problems.append("CRON_SECRET and QUEUE_PROCESSOR_TOKEN must differ: a GET with the first ticks")
        return problems + super().faults()

    def _guessable(self) -> list[str]:
        """Outside development, the deployment's own secrets that an attacker could guess."""
        if self.is_development:
            return []
        own = {
            "SIGNING_SECRET": self.signing_secret,
            "QUEUE_PROCESSOR_TOKEN": self.queue_processor_token,
            "OPERATOR_TOKEN": self.operator_token,
            "CRON_SECRET": self.cron_secret,
        }
        short = [name for name, secret in own.items() if secret is not None and len(text_of(secret)) < MIN_SECRET]
        # By number: what is in the place of a name may be the key.
        weak = [number for number, key in enumerate(self._keys(), 1) if is_guessable(key)]
        return [
            *(f"{name} must have {MIN_SECRET} characters or more" for name in short),
            *(f"API_KEYS: key number {number} is a placeholder or shorter than {MIN_SECRET}" for number in weak),
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
