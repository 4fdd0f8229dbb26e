"""QStash as scheduler: Upstash calls a deployment whose platform has no cron for every minute."""

from pydantic import SecretStr

from shared.config.credentials import text_of
from shared.config.environment import EnvironmentSettings


class QStashSettings(EnvironmentSettings):
    """How a schedule is made at QStash, and which keys sign its calls."""

    qstash_token: SecretStr | None = None  # only `make schedule` needs it
    qstash_url: str = "https://qstash.upstash.io"
    qstash_current_signing_key: SecretStr | None = None
    qstash_next_signing_key: SecretStr | None = None  # during a rotation QStash changes over from one to the other

    @property
    def qstash_keys(self) -> tuple[str, ...]:
        """The keys that may have signed a call."""
        keys = (self.qstash_current_signing_key, self.qstash_next_signing_key)
        return tuple(text_of(key) for key in keys if key is not None)

    def faults(self) -> list[str]:
        problems = self._unreachable("qstash_url")
        if self.qstash_token is not None and not self.qstash_keys:
            problems.append("QSTASH_CURRENT_SIGNING_KEY is missing: without it QStash's calls would be refused")
        return problems + super().faults()
