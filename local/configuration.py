"""How the embedded stack runs: from flags, and from the environment for a flag that is not given."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DATA_DIR = Path(".sluice")
MAX_PORT = 65_535
MAX_SECONDS = 86_400


@dataclass(frozen=True)
class Configuration:
    """One stack. Port 0 means any free one."""

    port: int = 8000
    store_port: int = 8079
    provider_port: int = 8090
    tick: float = 5.0  # s between two ticks of the schedule
    data_dir: Path = DATA_DIR
    fresh: bool = False  # starts empty and leaves nothing in data_dir
    memory: bool = False
    log_dir: Path | None = None  # where the children's output goes instead of the terminal
    settings: Mapping[str, str] = field(default_factory=dict)  # of the functions; these override all others
    sealed: bool = False  # the functions' settings come neither from the environment nor from .env


def parse_arguments(arguments: Sequence[str] | None = None) -> Configuration:
    """Returns the command line's configuration; exits with status 2 and a usage line if an argument is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m local.stack",
        description="The whole system on this machine: functions, store, provider and schedule, until Ctrl-C.",
    )
    add_port(parser, "--port", "SLUICE_PORT", 8000, "the functions")
    add_port(parser, "--store-port", "SLUICE_STORE_PORT", 8079, "the store")
    add_port(parser, "--provider-port", "SLUICE_PROVIDER_PORT", 8090, "the simulated provider")
    parser.add_argument(
        "--tick",
        type=seconds,
        metavar="SECONDS",
        default=os.environ.get("SLUICE_TICK") or "5",
        help="seconds between two ticks (default: $SLUICE_TICK, else 5)",
    )
    parser.add_argument("--data-dir", type=folder, default=str(DATA_DIR), help=f"keep data here (default: {DATA_DIR})")
    parser.add_argument("--fresh", "--ephemeral", action="store_true", help="start empty and keep nothing")
    parser.add_argument("--memory", action="store_true", help="keep jobs in the functions' process, without a store")
    return Configuration(**vars(parser.parse_args(arguments)))


def add_port(parser: argparse.ArgumentParser, flag: str, variable: str, default: int, of: str) -> None:
    """Adds a flag whose default is the environment variable's value."""
    parser.add_argument(
        flag,
        type=port_number,
        metavar="N",
        default=os.environ.get(variable) or str(default),
        help=f"port of {of}, 0 for a free one (default: ${variable}, else {default})",
    )


def port_number(text: str) -> int:
    """Returns the port that the text names; argparse puts this function's name into its error message."""
    port = int(text)
    if not 0 <= port <= MAX_PORT:
        raise argparse.ArgumentTypeError(f"{port} is not a port")
    return port


def seconds(text: str) -> float:
    """Returns the duration that the text names."""
    duration = float(text)
    if not 0 < duration <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"must be more than 0 seconds, and at most {MAX_SECONDS}")
    return duration


def folder(text: str) -> Path:
    """Returns the path that the text names, where a folder is or can be made."""
    path = Path(text)
    if any(part.exists() and not part.is_dir() for part in (path, *path.parents)):
        raise argparse.ArgumentTypeError(f"{text} is not a folder")
    return path
