"""The environment of a deployment, for the functions under measurement."""

import base64
import os
import secrets
from pathlib import Path

from shared.config.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
# A cached status stays cached for a whole run; STATUS_CACHE_TTL may not exceed CHECK_INTERVAL.
RUN = "86400"


def deployment(url: str) -> dict[str, str]:
    """Returns the variables of a production deployment whose store is at ``url``; its secrets are new each time."""
    # Hex digits only: base64 could by chance contain a word that Settings takes for a placeholder.
    signed = base64.b64encode(secrets.token_hex(12).encode()).decode()
    return {
        "SLUICE_ENV": "production",
        "UPSTASH_REDIS_REST_URL": url,
        "UPSTASH_REDIS_REST_TOKEN": secrets.token_hex(24),
        "API_KEYS": f"app:{secrets.token_hex(24)}",
        "SIGNING_SECRET": secrets.token_hex(24),
        "QUEUE_PROCESSOR_TOKEN": secrets.token_hex(24),
        "CRON_SECRET": secrets.token_hex(24),
        "REPLICATE_API_TOKEN": f"r8_{secrets.token_hex(18)}",
        "REPLICATE_WEBHOOK_SECRET": f"whsec_{signed}",
        "PUBLIC_BASE_URL": "https://queue.acme-studio.net",
        "DISPATCH_ON_SUBMIT": "false",  # a submit is one store call and calls no provider
        "STATUS_CACHE_TTL": RUN,
        "CHECK_INTERVAL": RUN,
    }


def environment(url: str) -> dict[str, str]:
    """Returns this process's environment with the deployment's settings instead of its own."""
    aliases = ("SLUICE_ENV", "KV_REST_API_URL", "KV_REST_API_TOKEN")
    settings = {*aliases, *(name.upper() for name in Settings.model_fields)}
    # Without bytecode on disk a cold start would measure the compiler; VERCEL* would give another public address.
    switches = ("PYTHONDONTWRITEBYTECODE", "PYTHONPROFILEIMPORTTIME", "PYTHONOPTIMIZE", "AWS_LAMBDA_FUNCTION_NAME")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.upper() not in settings and name not in switches and not name.startswith("VERCEL")
    }
    return kept | deployment(url)


def enter(url: str) -> None:
    """Makes it this process's environment. Call it before importing a function, whose module reads the settings."""
    wanted = environment(url)
    os.environ.clear()
    os.environ.update(wanted)
