"""The providers: one file each, and the line in REGISTRY that makes it known."""

import importlib

from shared.errors import InvalidRequest
from shared.providers.base import Provider
from shared.settings import Settings

REGISTRY = {"replicate": "shared.providers.replicate_api:Replicate"}


class Providers:
    """The providers of one event loop, each loaded when first asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: dict[str, Provider] = {}

    def __getitem__(self, name: str) -> Provider:
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Provider:
        if name not in REGISTRY:
            raise InvalidRequest("There is no such provider.", field="provider")
        module, _, attribute = REGISTRY[name].partition(":")
        provider: Provider = getattr(importlib.import_module(module), attribute)(self._settings)
        return provider

    async def close(self) -> None:
        for provider in self._loaded.values():
            await provider.close()
