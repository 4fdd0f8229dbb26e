"""The providers of one event loop, each loaded when first asked for."""

import importlib
from collections.abc import Mapping
from typing import Any

from shared.config.providers import NUMBERS, REGISTRY
from shared.config.settings import Settings
from shared.providers.base import Provider


class Providers:
    """Loads the deployment's providers by name, except those that it is given."""

    def __init__(self, settings: Settings, given: Mapping[str, Provider] | None = None) -> None:
        self._settings = settings
        self._loaded = dict(given or {})

    def __getitem__(self, name: str) -> Provider:
        """Also one that jobs may name no more, as long as some are still there; KeyError if none is registered so."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Provider:
        provider: Provider = provider_class(name)(self._settings)
        return provider

    async def close(self) -> None:
        for provider in self._loaded.values():
            await provider.close()


def provider_class(name: str) -> Any:
    """The class of a registered provider: called with the settings it makes a Provider, and ``faults(settings)`` of one
    with settings of its own names those that keep a deployment from starting. Raises KeyError."""
    module, _, attribute = REGISTRY[NUMBERS[name]].target.partition(":")
    return getattr(importlib.import_module(module), attribute)
