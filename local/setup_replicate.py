"""``make setup-replicate``: checks the API token, and writes the account's webhook secret into .env.

Replicate has one secret for an account (its page on verifying webhooks). A deployment keeps it in its settings: to
fetch it at each start would be one more call that may fail.
"""

import sys
from pathlib import Path

import httpx

from local.envfile import ENV_FILE, known, write
from shared.config.credentials import fault_of_secret
from shared.connection import trouble_of
from shared.providers.failures import clean
from shared.signing.webhooks import secret_key

BASE_URL = "https://api.replicate.com/v1"
TIMEOUT = 15.0  # s


def main(path: Path = ENV_FILE) -> int:
    """Returns 0 once the secret is in the file; 1, with the reason on standard error, if it is not."""
    settings = known(path)
    token = settings.get("REPLICATE_API_TOKEN", "")
    if not token:
        return _fail("Set REPLICATE_API_TOKEN, in the environment or in .env.")
    if fault := fault_of_secret(token):
        return _fail(f"REPLICATE_API_TOKEN {fault}.")
    base_url = settings.get("REPLICATE_BASE_URL", BASE_URL).rstrip("/")
    try:
        with httpx.Client(timeout=TIMEOUT, headers={"Authorization": f"Bearer {token}"}) as client:
            account = client.get(f"{base_url}/account")
            if account.status_code in (401, 403):
                return _fail("Replicate does not accept this token.")
            account.raise_for_status()
            answer = client.get(f"{base_url}/webhooks/default/secret")
            answer.raise_for_status()
            secret = str(answer.json()["key"])
            secret_key(secret)
    except httpx.TransportError as error:
        return _fail(f"Replicate was not reached: {trouble_of(error, base_url)}.")
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return _fail(f"Replicate did not answer as expected: {type(error).__name__}.")
    write({"REPLICATE_WEBHOOK_SECRET": secret}, path)
    print(f"The token belongs to {_name(account)}. REPLICATE_WEBHOOK_SECRET is in {path.name}.")
    return 0


def _name(account: httpx.Response) -> str:
    try:
        return clean(str(account.json()["username"]))[:100]
    except (ValueError, KeyError, TypeError):
        return "an account"


def _fail(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
