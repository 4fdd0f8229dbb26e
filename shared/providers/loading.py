"""The providers of one event loop, each loaded when first asked for."""

import importlib

from shared.providers.base import Provider
from shared.providers.registry import listing_of
from shared.settings import Settings


class Providers:
    """Loads the deployment's providers by name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: dict[str, Provider] = {}

    def __getitem__(self, name: str) -> Provider:
        """Raises KeyError for a provider that this deployment does not have."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def __contains__(self, name: str) -> bool:
        return name in self._settings.provider_names

    def _load(self, name: str) -> Provider:
        listing = listing_of(name)
        if listing is None or name not in self:
            raise KeyError(name)
        module, _, attribute = listing.target.partition(":")
        provider: Provider = getattr(importlib.import_module(module), attribute)(self._settings)
        return provider

    async def close(self) -> None:
        for provider in self._loaded.values():
            await provider.close()
