"""The routes of a function: which coroutine answers which method of which path.

Starlette's router finds the path. FastAPI's routes would read parameters and bodies from annotations, and no function
uses that; loading it is half of a cold start.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from shared.log import operation

Function = Callable[..., Awaitable[Response]]
Decorated = TypeVar("Decorated", bound=Function)


class Router:
    """Collects functions by path and method. Each gets the request, and the path's parameters by name.

    Paths are Starlette's: ``{name}`` has no slash, ``{name:path}`` may have some. All begin with ``prefix``.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._resources: dict[str, _Resource] = {}

    def get(self, path: str) -> Callable[[Decorated], Decorated]:
        return self._adding("GET", path)

    def head(self, path: str) -> Callable[[Decorated], Decorated]:
        """For a path that answers HEAD itself; elsewhere a HEAD is the GET without its body."""
        return self._adding("HEAD", path)

    def post(self, path: str) -> Callable[[Decorated], Decorated]:
        return self._adding("POST", path)

    def put(self, path: str) -> Callable[[Decorated], Decorated]:
        return self._adding("PUT", path)

    def patch(self, path: str) -> Callable[[Decorated], Decorated]:
        return self._adding("PATCH", path)

    def delete(self, path: str) -> Callable[[Decorated], Decorated]:
        return self._adding("DELETE", path)

    def operations(self) -> Iterator[tuple[str, str]]:
        """Yields method and path of each function."""
        return ((method, path) for path, resource in self._resources.items() for method in resource.functions)

    def routes(self) -> list[Route]:
        """Returns a route for each path, as Starlette and FastAPI take them. The first that fits a path answers it."""
        in_order = sorted(self._resources, key=lambda path: "{" in path)  # a name goes before a parameter in its place
        return [Route(path, self._resources[path]) for path in in_order]

    def _adding(self, method: str, path: str) -> Callable[[Decorated], Decorated]:
        def add(function: Decorated) -> Decorated:
            self._resources.setdefault(self._prefix + path, _Resource(self._prefix + path)).functions[method] = function
            return function

        return add


class _Resource:
    """The functions of one path, by method, as an ASGI application."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.functions: dict[str, Function] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        function = self.functions.get(scope["method"])
        if function is None:
            raise HTTPException(405, headers={"Allow": ", ".join(self._allowed())})
        parameters: dict[str, Any] = scope["path_params"]
        operation.set(f"{scope['method']} {self.path}")
        response = await function(Request(scope, receive, send), **parameters)
        await response(scope, receive, send)

    def _allowed(self) -> list[str]:
        return sorted({*self.functions, "HEAD"} if "GET" in self.functions else self.functions)
