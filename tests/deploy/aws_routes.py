"""The routes of the application, and which of API Gateway's routes leads to each."""

from typing import Any

Route = tuple[str, str]


def routes_of(routers: Any) -> set[Route]:
    """Returns the methods and paths that an application answers; HEAD next to its GET."""
    served = {operation for router in routers for operation in router.operations()}
    return served | {("HEAD", path) for method, path in served if method == "GET"}


def served_by_the_app() -> set[Route]:
    from functions.index import ROUTERS

    return routes_of(ROUTERS)


def matches(pattern: Route, route: Route) -> bool:
    """Whether API Gateway sends a request for the app's route ``route`` to its own route ``pattern``."""
    if pattern[0] not in ("*", "ANY", route[0]):
        return False
    wanted, given = pattern[1].split("/"), route[1].split("/")
    for number, part in enumerate(wanted):
        if part.endswith("+}"):
            return len(given) > number
        if number >= len(given) or (part != given[number] and not (part[:1] == given[number][:1] == "{")):
            return False
    # A parameter of the app that matches slashes needs a parameter of the gateway that matches them.
    return len(wanted) == len(given) and ":path" not in given[-1]
