"""What a call may do with a request, once its caller is known."""

from collections.abc import Iterable

from starlette.requests import Request

from shared.access.caller import Caller, Role
from shared.access.permission import as_user, require_allowed
from shared.config.access import EVERY_OWNER
from shared.config.settings import Settings
from shared.requests.reading import Model, read_model


class Authorized:
    """A request of a caller whose credential is proved."""

    caller: Caller

    def __init__(self, request: Request, settings: Settings) -> None:
        self._request = request
        self._settings = settings

    @property
    def owner(self) -> str:
        """The name of the caller's API key, which owns the jobs that the caller submits.

        For operations that need MANAGE, since no token of a user has that scope.
        """
        if self.caller.user is not None:
            raise RuntimeError("a user reaches less than all that the API key owns")
        return self.caller.name

    @property
    def reader(self) -> str:
        """Whose jobs and batches the caller may read: those of its API key; EVERY_OWNER for an operator."""
        return EVERY_OWNER if self.caller.role is Role.OPERATOR else self.caller.name

    async def read(self, limit: int, model: type[Model]) -> Model:
        """Returns the request's JSON object as a model, with what a user's token says; see read_model and as_user."""
        return await read_model(
            self._request, limit, model, lambda given: as_user(self.caller, given, model.model_fields)
        )

    def require_allowed(self, models: Iterable[str], provider: str | None) -> None:
        """Returns if the caller's credential allows these models and this provider; raises NotPermitted."""
        require_allowed(self.caller, models, provider or self._settings.provider_names[0])
