"""``make schedule``: makes QStash call the deployment every minute, and writes its signing keys into .env.

From Upstash's documentation of QStash: POST /v2/schedules/<destination> with the header Upstash-Cron makes a schedule.
The header Upstash-Schedule-Id names it, and an existing one of that name is replaced. GET /v2/keys returns the signing
keys.
"""

import argparse
import sys
from pathlib import Path
from urllib.parse import urlencode

import httpx

from local.envfile import ENV_FILE, known, write
from shared.config.credentials import fault_of_secret
from shared.config.hosting import BYPASS
from shared.connection import trouble_of

BASE_URL = "https://qstash.upstash.io"
TIMEOUT = 15.0  # s
EVERY_MINUTE = "* * * * *"


def main(arguments: list[str] | None = None, path: Path = ENV_FILE) -> int:
    """Returns 0 once the schedule exists; 1, with the reason on standard error, if it could not be made."""
    parser = argparse.ArgumentParser(prog="make schedule", description=__doc__)
    parser.add_argument("--cron", default=EVERY_MINUTE)
    parser.add_argument("--delete", action="store_true", help="remove the schedule instead")
    wanted = parser.parse_args(arguments)
    settings = known(path)
    missing = [name for name in ("QSTASH_TOKEN", "PUBLIC_BASE_URL") if not settings.get(name)]
    if missing:
        return _fail(f"Set {' and '.join(missing)}, in the environment or in .env.")
    if fault := fault_of_secret(settings["QSTASH_TOKEN"]):
        return _fail(f"QSTASH_TOKEN {fault}.")
    if not settings["PUBLIC_BASE_URL"].startswith("https://"):
        return _fail("PUBLIC_BASE_URL must be an https address: QStash calls it from outside.")
    base_url = settings.get("QSTASH_URL", BASE_URL).rstrip("/")
    name = f"sluice-{settings.get('SLUICE_ENV', 'production')}"
    try:
        with httpx.Client(timeout=TIMEOUT, headers={"Authorization": f"Bearer {settings['QSTASH_TOKEN']}"}) as client:
            if wanted.delete:
                client.delete(f"{base_url}/v2/schedules/{name}").raise_for_status()
                print(f"The schedule {name} is gone.")
                return 0
            keys = client.get(f"{base_url}/v2/keys")
            keys.raise_for_status()
            current, following = str(keys.json()["current"]), str(keys.json()["next"])
            answer = client.post(
                f"{base_url}/v2/schedules/{destination(settings)}",
                headers={
                    "Upstash-Cron": wanted.cron,
                    "Upstash-Schedule-Id": name,
                    "Upstash-Method": "POST",
                    "Upstash-Retries": "0",  # the next minute is the retry
                },
            )
            answer.raise_for_status()
    except httpx.TransportError as error:
        return _fail(f"QStash was not reached: {trouble_of(error, base_url)}.")
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return _fail(f"QStash did not answer as expected: {type(error).__name__}.")
    write({"QSTASH_CURRENT_SIGNING_KEY": current, "QSTASH_NEXT_SIGNING_KEY": following}, path)
    print(f"QStash calls the deployment ({wanted.cron}) as schedule {name}. Its signing keys are in {path.name};")
    print("set both in the deployment's own variables too.")
    return 0


def destination(settings: dict[str, str]) -> str:
    """The address that QStash calls, with the secret that passes Vercel's protection if there is one."""
    secret = settings.get("VERCEL_AUTOMATION_BYPASS_SECRET")
    query = f"?{urlencode({BYPASS: secret})}" if secret else ""
    return f"{settings['PUBLIC_BASE_URL'].rstrip('/')}/api/process-queue{query}"


def _fail(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
