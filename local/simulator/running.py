"""Runs a simulator in this process, on a free port, for tests and benches; and makes accounts' secrets."""

import secrets
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from local.simulator.census import Census
from local.simulator.connection import server_of
from local.simulator.server import build_app
from local.simulator.simulation import Account, Simulation

TOKEN = "r8_simulated"
"""The simulated Replicate's default token."""

KEY = "wavespeed_simulated"
"""The simulated WaveSpeed's default key."""

_START_S = 10


class RunningSimulator:
    """Steers a running simulator over its admin routes; safe to call from any thread, also one with an event loop."""

    def __init__(self, root: str, replicate: Account, wavespeed: Account, client: httpx.Client) -> None:
        self.root = root
        self.url = f"{root}/v1"
        self.token, self.webhook_secret = replicate
        self.wavespeed_url = f"{root}/api/v3"
        self.wavespeed_key, self.wavespeed_secret = wavespeed
        self._client = client

    @property
    def headers(self) -> dict[str, str]:
        """The headers of an authenticated request, at Replicate's API and the admin routes."""
        return {"Authorization": f"Bearer {self.token}"}

    def census(self) -> Census:
        """Returns counts and maxima since the last reset."""
        return Census.model_validate(self._ask("GET", "census").json())

    def predictions(self) -> list[dict[str, Any]]:
        """Returns every prediction, newest first, with its webhook URL, behaviour and deliveries."""
        everything: list[dict[str, Any]] = self._ask("GET", "predictions").json()
        return everything

    def behave(self, *, creates: int | None = None, **fields: Any) -> None:
        """Sets the default fields of `input["simulate"]` for the next `creates` calls, or for all until cleared."""
        self._ask("POST", "behaviour", {**fields, **({} if creates is None else {"creates": creates})})

    def clear(self) -> None:
        """Removes the default set by `behave`."""
        self._ask("DELETE", "behaviour")

    def advance(self, seconds: float) -> None:
        """Moves the simulator's clock; webhooks that become due are sent soon after this returns."""
        self._ask("POST", "advance", {"seconds": seconds})

    def reset(self) -> None:
        """Deletes all predictions and counts, and returns to real time."""
        self._ask("POST", "reset")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        answer = self._client.request(method, f"{self.root}/-/{path}", json=body, headers=self.headers)
        if answer.is_error:
            raise ValueError(f"the simulator refused {method} /-/{path}: {answer.text}")
        return answer


def new_webhook_secret() -> str:
    """Returns a secret of the form that Replicate's API hands out."""
    return "whsec_" + b64encode(secrets.token_bytes(24)).decode()


def new_text_secret() -> str:
    """Returns a secret of WaveSpeed's form: not base64, so that decoding it by mistake fails."""
    return "whsec_" + secrets.token_hex(33)


@contextmanager
def running_simulator(
    token: str = TOKEN,
    webhook_secret: str | None = None,
    rate_limit: int = 0,
    wavespeed_key: str = KEY,
    wavespeed_secret: str | None = None,
) -> Iterator[RunningSimulator]:
    """Runs a simulator in a thread of this process until the block ends; rate limit 0 means none."""
    replicate = Account(token, webhook_secret or new_webhook_secret())
    wavespeed = Account(wavespeed_key, wavespeed_secret or new_text_secret())
    listening = socket.create_server(("127.0.0.1", 0))
    root = f"http://127.0.0.1:{listening.getsockname()[1]}"
    # Built here, used in the server's thread: events and connections belong to the loop that first waits on them.
    server = server_of(build_app(Simulation(replicate, wavespeed, rate_limit)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="simulator", daemon=True)
    thread.start()
    try:
        _wait_until(server, thread)
        with httpx.Client(trust_env=False, timeout=_START_S) as client:
            yield RunningSimulator(root, replicate, wavespeed, client)
    finally:
        server.should_exit = True
        thread.join(_START_S)


def _wait_until(server: Any, thread: threading.Thread) -> None:
    give_up_at = time.monotonic() + _START_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > give_up_at:
            raise RuntimeError("the simulator did not start")
        time.sleep(0.005)
