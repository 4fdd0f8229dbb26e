"""The developer's ``.env``: what is in it, and which names look like a setting's and are none."""

import os
from collections.abc import Iterable, Mapping

from pydantic import AliasChoices

from shared.config.settings import Settings
from shared.config.store import TCP_NAMES

ENV_FILE = ".env"
NEARLY = 0.85  # the likeness of SIGNING_SECRT and SIGNING_SECRET is 0.96, that of two real settings may be 0.9


def setting_names() -> frozenset[str]:
    """Returns every environment variable that holds a setting of the functions; some also have a name of AWS."""
    from shared.providers.wavespeed import WaveSpeedSettings  # here, because most starts need no such module

    names = set(Settings.model_fields) | set(WaveSpeedSettings.model_fields)
    for field in Settings.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            names.update(str(choice) for choice in field.validation_alias.choices)
    return frozenset(name.upper() for name in names)


def variables() -> dict[str, str]:
    """Returns what the file in this folder sets; nothing without one."""
    if not os.path.exists(ENV_FILE):
        return {}
    from dotenv import dotenv_values  # here, because only development has the file

    return {name.upper(): value for name, value in dotenv_values(ENV_FILE).items() if value}


def misspelt(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the names that are no settings and nearly one that is not set: each with the setting."""
    import difflib

    known = setting_names() | set(TCP_NAMES)
    unset = sorted(known - {name.upper() for name in environ})
    others = sorted({name.upper() for name in names} - known)
    found = {name: difflib.get_close_matches(name, unset, n=1, cutoff=NEARLY) for name in others}
    return {name: matches[0] for name, matches in found.items() if matches}
