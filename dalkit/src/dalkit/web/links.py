"""The path of a route, found by its name without asking all other routes each time."""

from collections.abc import Mapping
from contextlib import suppress
from itertools import chain
from typing import Any
from weakref import finalize

from fastapi.routing import iter_route_contexts
from starlette.routing import NoMatchFound, Router

#: What was found for a router with so many routes, by name and parameters.
Found = tuple[int, dict[tuple[str, tuple[str, ...]], Any]]
#: By the id of the router, which has no hash, as long as it lives.
_FOUND: dict[int, Found] = {}


def path_for(router: Router, name: str, parameters: Mapping[str, str]) -> str:
    """Return what `router.url_path_for` does; raises starlette.routing.NoMatchFound as it does.

    That tries one route after the other, and an exception is raised for each that is not the one.
    Which it is depends on the name and the names of the parameters only, and is kept.
    """
    if (kept := _FOUND.get(id(router))) is None or kept[0] != len(router.routes):
        if kept is None:
            finalize(router, _FOUND.pop, id(router), None)
        kept = _FOUND[id(router)] = len(router.routes), {}
    found = kept[1]
    asked = name, tuple(parameters)
    known = [found[asked]] if asked in found else []
    for route in chain(known, iter_route_contexts(router.routes)):
        with suppress(NoMatchFound):
            path = str(route.url_path_for(name, **parameters))
            found[asked] = route
            return path
    raise NoMatchFound(name, dict(parameters))
