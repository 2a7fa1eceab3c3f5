"""What a person may call first: a path of the OpenAPI document, and the scopes that it needs."""

from dataclasses import dataclass
from typing import Any

PROBES = ("/livez", "/readyz")

Operation = dict[str, Any]


@dataclass(frozen=True)
class FirstCall:
    """A GET without parameters, and the `scopes` that it needs of `all_scopes` of the API."""

    path: str
    is_guarded: bool
    scopes: tuple[str, ...]
    all_scopes: tuple[str, ...]


def first_call(document: dict[str, Any]) -> FirstCall | None:
    """Return the first such GET of an OpenAPI document, one that needs scopes if there is any."""
    paths: dict[str, dict[str, Operation]] = document.get("paths", {})
    reads = {path: methods["get"] for path, methods in paths.items() if "get" in methods}
    possible = [path for path, read in reads.items() if _asks_for_nothing(path, read)]
    if not possible:
        return None
    path = max(possible, key=lambda path: bool(_scopes(reads[path])))  # the first of them
    everything = {
        scope
        for methods in paths.values()
        for operation in methods.values()
        for scope in _scopes(operation)
    }
    read = reads[path]
    return FirstCall(path, bool(read.get("security")), _scopes(read), tuple(sorted(everything)))


def _asks_for_nothing(path: str, read: Operation) -> bool:
    required = any(parameter.get("required") for parameter in read.get("parameters", ()))
    return path not in PROBES and "{" not in path and not required


def _scopes(operation: Operation) -> tuple[str, ...]:
    needed = operation.get("security", ())
    return tuple(sorted({scope for each in needed for scopes in each.values() for scope in scopes}))
