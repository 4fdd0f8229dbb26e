"""The names that own jobs: those in API_KEYS, and the owners of keys of the store."""

from shared.config.settings import Settings
from shared.errors import InvalidRequest
from shared.jobqueue import ApiKeys


class Owners:
    """Knows which owners there are."""

    def __init__(self, keys: ApiKeys, settings: Settings) -> None:
        self._keys = keys
        self._settings = settings

    async def require(self, *names: str, field: str) -> None:
        """Raises InvalidRequest for a name that owns nothing; '' stands for all. One command for each of no API_KEYS.

        The error lists the names in API_KEYS alone.
        """
        for name in set(names).difference(self._settings.callers, {""}):
            if not await self._keys.has_owner(name):
                known = ", ".join(self._settings.callers)
                raise InvalidRequest(
                    f"No API key has this name. API_KEYS has: {known}. The store has others.", field=field
                )
