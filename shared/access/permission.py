"""What a credential allows of a body: a token says who the user is, and the body may not say otherwise."""

from collections.abc import Collection, Iterable, Mapping

from shared.access.caller import Caller
from shared.access.errors import NotPermitted
from shared.config.order import TIERS
from shared.json_value import Json

# Where events go, which user is first, and how long a page may read: an application's choice and never a user's.
OF_THE_APPLICATION = ("hook_url", "hook_events", "priority", "token")


def as_user(caller: Caller, given: Json, fields: Collection[str]) -> Json:
    """Returns the body of this caller, with what a user's token says; ``fields`` are those that the body may have.

    A whole key's body stays as it is. Raises NotPermitted if a user's body says something else than the token, or sets
    what only the application may set.
    """
    if caller.user is None or not isinstance(given, dict):
        return given
    fixed = {"user_id": caller.user, "tier": caller.tier or TIERS[0]}
    said = {name: value for name, value in fixed.items() if name in fields}
    for name, value in said.items():
        if given.get(name, value) != value:  # mutant: what a body says
            raise NotPermitted("The token says otherwise.", field=name)
    _require_none_of_the_application(given)
    jobs = given.get("jobs")
    for number, job in enumerate(jobs if isinstance(jobs, list) else ()):
        if isinstance(job, dict):
            _require_none_of_the_application(job, f"jobs.{number}.")  # mutant: of the application in a batch
    return {**given, **said}


def _require_none_of_the_application(given: Mapping[str, Json], place: str = "") -> None:
    for name in OF_THE_APPLICATION:
        if given.get(name) not in (None, False):  # mutant: of the application
            raise NotPermitted("Only the application may set this.", field=f"{place}{name}")


def require_allowed(caller: Caller, models: Iterable[str], provider: str) -> None:
    """Returns if the credential allows these models and this provider; NotPermitted names the field."""
    if caller.models is not None and not all(is_listed(model, caller.models) for model in models):  # mutant: models
        raise NotPermitted("The credential does not allow this model.", field="model")
    if caller.providers is not None and provider not in caller.providers:  # mutant: providers
        raise NotPermitted("The credential does not allow this provider.", field="provider")


def is_listed(model: str, allowed: Collection[str]) -> bool:
    """Whether the list has the model, or the model of which this is a version."""
    return model in allowed or model.partition(":")[0] in allowed
