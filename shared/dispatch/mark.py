"""The mark of an attempt: what the query of its webhook's URL says, and a provider's list may show."""

from shared.config.settings import Settings
from shared.signing.derived import nonce


def mark_of(settings: Settings, provider: str, job_id: str, attempt: int, incarnation: str) -> dict[str, str]:
    """Returns the query's parameters that tell an attempt's webhook from all others."""
    return {
        "job": job_id,
        "attempt": str(attempt),
        "incarnation": incarnation,
        "nonce": nonce(settings.signing_key, provider, job_id, attempt, incarnation),
    }
