"""Stacks of tests: on free ports, and untouched by the settings of this machine."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from local.configuration import Configuration
from shared.env_file import setting_names

FREE_PORTS = {"SLUICE_PORT": "0", "SLUICE_STORE_PORT": "0", "SLUICE_PROVIDER_PORT": "0"}


def clean_environment() -> dict[str, str]:
    """Returns this process's environment without Sluice's settings; SLUICE_ENV=test keeps a developer's .env out."""
    others = {name: value for name, value in os.environ.items() if name not in setting_names()}
    return {**others, **FREE_PORTS, "SLUICE_ENV": "test"}


def sealed(data_dir: Path, **changes: object) -> Configuration:
    """Configures a stack on free ports that ignores the tests' environment; its output goes to files."""
    values: dict[str, object] = {
        "port": 0, "store_port": 0, "provider_port": 0, "data_dir": data_dir, "log_dir": data_dir / "logs",
        "sealed": True, "settings": {"SLUICE_ENV": "test"},
    }  # fmt: skip
    return Configuration(**(values | changes))  # type: ignore[arg-type]


def eventually(claim: Callable[[], bool], seconds: float = 15.0) -> bool:
    give_up_at = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.02)
    return True
