"""`python -m local.schedule`: ticks the queue every few seconds, as a deployment's cron does every minute."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

import httpx

from local.configuration import seconds

TOKEN_VARIABLE = "QUEUE_PROCESSOR_TOKEN"
TIMEOUT_SECONDS = 75.0  # longer than a function lives
WORTH_A_LINE = ("started", "looked_at", "missing", "failed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Ticks until SIGINT or SIGTERM and returns 0; returns 2 without a token."""
    parser = argparse.ArgumentParser(prog="python -m local.schedule", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="where the functions are")
    parser.add_argument("--period", type=seconds, default="5", help="seconds between two ticks (default: 5)")
    chosen = parser.parse_args(arguments)
    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        print(f"schedule: {TOKEN_VARIABLE} is not set", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _tick_for_ever(chosen.url, token, chosen.period)
    except KeyboardInterrupt:
        return 0


def _tick_for_ever(url: str, token: str, period: float) -> NoReturn:
    # Without keep-alive: the server may close an idle connection at the moment of its next use.
    limits = httpx.Limits(max_keepalive_connections=0)
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, limits=limits, timeout=TIMEOUT_SECONDS, trust_env=False) as client:
        while True:
            time.sleep(period)
            line = tick(client)
            if line:
                print(line, flush=True)


def tick(client: httpx.Client) -> str | None:
    """Ticks once and returns a line to print if the tick did something or failed. Never raises."""
    try:
        answer = client.post("/api/process-queue")
        if not answer.is_success:
            return f"tick failed: status {answer.status_code}"
        summary: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        return f"tick failed: {type(error).__name__}"
    if not any(summary.get(name) for name in WORTH_A_LINE):
        return None
    return "tick " + " ".join(f"{name}={value}" for name, value in summary.items())


if __name__ == "__main__":
    sys.exit(main())
