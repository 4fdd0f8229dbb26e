"""The providers of one event loop; each is loaded at its first use."""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from shared.config.providers import NUMBERS, REGISTRY
from shared.config.settings import Settings
from shared.providers.base import Provider

if TYPE_CHECKING:
    from shared.tally import Tally


class Providers:
    """Loads the deployment's providers by name, except the given ones. With a ``tally``, their calls are counted."""

    tally: "Tally | None" = None

    def __init__(self, settings: Settings, given: Mapping[str, Provider] | None = None) -> None:
        self._settings = settings
        self._loaded = dict(given or {})

    def __getitem__(self, name: str) -> Provider:
        """Returns the provider, also one that new jobs may no longer name; KeyError if it is not registered."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name] if self.tally is None else self._counted(name, self.tally)

    def _counted(self, name: str, tally: "Tally") -> Provider:
        from shared.providers.counted import Counted

        return Counted(name, self._loaded[name], tally)

    def _load(self, name: str) -> Provider:
        return provider_class(name)(self._settings)

    async def close(self) -> None:
        for provider in self._loaded.values():
            await provider.close()


class ProviderClass(Protocol):
    """Makes a provider of the deployment's settings."""

    def __call__(self, settings: Settings, /) -> Provider: ...

    def faults(self, settings: Settings, /) -> list[str]:
        """Returns why the deployment cannot start, from settings that the provider reads itself. Replicate has none."""


def provider_class(name: str) -> ProviderClass:
    """Returns the class of a registered provider. Raises KeyError."""
    module, _, attribute = REGISTRY[NUMBERS[name]].target.partition(":")
    found: ProviderClass = getattr(importlib.import_module(module), attribute)
    return found
