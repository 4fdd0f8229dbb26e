"""How many billed commands the deployment sends to its store, and what a month of them costs."""

from shared.clock import Clock
from shared.config.settings import Settings
from shared.store import Store


def counted(store: Store, settings: Settings, clock: Clock) -> Store:
    """Returns a store that counts its commands if the deployment wants it; else the store itself."""
    if not settings.count_commands:
        return store
    from shared.usage.counting import CountedStore

    return CountedStore(store, settings, clock)
