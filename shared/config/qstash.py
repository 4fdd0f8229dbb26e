"""QStash as scheduler: a deployment that has no minute cron of its own may be called by Upstash."""

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class QStashSettings(BaseSettings):
    """Part of Settings; see there."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True, populate_by_name=True
    )

    qstash_token: SecretStr | None = None  # only who makes the schedule needs it
    qstash_url: str = "https://qstash.upstash.io"
    qstash_current_signing_key: SecretStr | None = None
    qstash_next_signing_key: SecretStr | None = None  # during a rotation QStash changes over from one to the other

    @property
    def qstash_keys(self) -> tuple[str, ...]:
        """The keys that may have signed a call."""
        keys = (self.qstash_current_signing_key, self.qstash_next_signing_key)
        return tuple(key.get_secret_value() for key in keys if key is not None)

    def qstash_faults(self) -> list[str]:
        """What keeps a deployment from starting, each as a sentence."""
        if self.qstash_token is not None and not self.qstash_keys:
            return ["QSTASH_CURRENT_SIGNING_KEY is missing: without it QStash's calls would be refused"]
        return []
