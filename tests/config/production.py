"""A complete environment of a deployment in production."""

import pytest

from shared.startup import SettingsError, load_settings

GOOD = {
    "SLUICE_ENV": "production",
    "UPSTASH_REDIS_REST_URL": "https://eu1-good-12345.upstash.io",
    "UPSTASH_REDIS_REST_TOKEN": "AXw1ASQgN2Y0ZTk5",
    "API_KEYS": "web:9b1c7f0e2d3a4b5c6d7e,worker:0f1e2d3c4b5a69788796",
    "SIGNING_SECRET": "b4c1d0e9f8a7b6c5d4e3",
    "QUEUE_PROCESSOR_TOKEN": "c5d4e3f2a1b0c9d8e7f6",
    "REPLICATE_API_TOKEN": "r8_1a2b3c4d5e6f7a8b9c",
    "REPLICATE_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "PUBLIC_BASE_URL": "https://sluice.acme.dev",
}
BUCKET = {
    "STORAGE_URL": "s3://films/results",
    "STORAGE_REGION": "eu-west-1",
    "STORAGE_ACCESS_KEY_ID": "films",
    "STORAGE_SECRET_ACCESS_KEY": GOOD["SIGNING_SECRET"][::-1],
}


def faults(environment: pytest.MonkeyPatch, **variables: str) -> list[str]:
    """Returns the lines with which a production deployment of these variables refuses to start."""
    for name, value in variables.items():
        environment.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    lines = str(refused.value).splitlines()
    assert all(line.startswith("Sluice cannot start: ") for line in lines)
    return [line.removeprefix("Sluice cannot start: ") for line in lines]
