"""The developer's .env file: commands read settings from it and write fetched secrets into it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from local.children import ROOT

ENV_FILE = ROOT / ".env"


def known(path: Path = ENV_FILE) -> dict[str, str]:
    """Returns all settings: from the environment, and from the file those that the environment lacks."""
    in_file = dotenv_values(path) if path.exists() else {}
    return {**{name: value for name, value in in_file.items() if value}, **{k: v for k, v in os.environ.items() if v}}


def write(values: Mapping[str, str], path: Path = ENV_FILE) -> None:
    """Sets these names in the file and leaves all its other lines as they are; only its owner may read it."""
    text = path.read_text() if path.exists() else ""
    for name, value in values.items():
        line = f"{name}={value}"
        found = re.compile(rf"^{name}=.*$", re.M)
        text = found.sub(lambda _, line=line: line, text) if found.search(text) else f"{text}{line}\n"  # type: ignore[misc]
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    path.chmod(0o600)
