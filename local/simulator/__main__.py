"""`python -m local.simulator`: runs the simulator until SIGINT or SIGTERM."""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Sequence

from local.simulator.connection import server_of
from local.simulator.running import KEY, TOKEN, new_text_secret, new_webhook_secret
from local.simulator.server import build_app
from local.simulator.simulation import CREATES_A_MINUTE, Account, Simulation


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 after SIGINT or SIGTERM, 2 if it cannot listen on the address."""
    chosen = _parser().parse_args(arguments)
    try:
        family = socket.AF_INET6 if ":" in chosen.host else socket.AF_INET
        listening = socket.create_server((chosen.host, chosen.port), family=family)
    except OSError as refused:
        reason = str(refused.strerror).partition(" (")[0]
        print(f"simulator: cannot listen on {chosen.host}:{chosen.port}: {reason}", file=sys.stderr)
        return 2
    # uvicorn raises the signal again once it has shut down; without these the process would end as if killed.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    print(f"simulator: http://{chosen.host}:{listening.getsockname()[1]}/v1", flush=True)
    replicate = Account(chosen.token, chosen.webhook_secret)
    wavespeed = Account(chosen.wavespeed_key, chosen.wavespeed_webhook_secret)
    simulation = Simulation(replicate, wavespeed, chosen.rate_limit)
    server_of(build_app(simulation)).run(sockets=[listening])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.simulator", description="Providers like Replicate's API (/v1) and WaveSpeed's (/api/v3)."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--token", default=os.environ.get("REPLICATE_API_TOKEN") or TOKEN)
    parser.add_argument(
        "--webhook-secret",
        default=os.environ.get("REPLICATE_WEBHOOK_SECRET") or new_webhook_secret(),
        metavar="whsec_...",
    )
    parser.add_argument("--wavespeed-key", default=os.environ.get("WAVESPEED_API_KEY") or KEY, metavar="KEY")
    parser.add_argument(
        "--wavespeed-webhook-secret",
        default=os.environ.get("WAVESPEED_WEBHOOK_SECRET") or new_text_secret(),
        metavar="whsec_...",
    )
    parser.add_argument(
        "--rate-limit", type=int, default=CREATES_A_MINUTE, metavar="N", help="creates a minute; 0 is no limit"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
