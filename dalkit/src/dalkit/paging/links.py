"""Links to other pages: the request's URL with some parameters replaced."""

from collections.abc import Iterator, Mapping
from urllib.parse import unquote_plus, urlencode


def with_parameters(url: str, parameters: Mapping[str, str | int | None]) -> str:
    """The URL with these query parameters instead of its own of these names; None removes one.

    The other parameters stay as the client wrote them.
    """
    address, query, fragment = _parts(url)
    kept = [given for name, given in _given(query) if name not in parameters]
    added = {name: value for name, value in parameters.items() if value is not None}
    both = "&".join([*kept, urlencode(added)] if added else kept)
    return f"{address}?{both}{fragment}" if both else f"{address}{fragment}"


def parameter_names(url: str) -> Iterator[str]:
    """The name of every query parameter, in order, as often as it is given."""
    _, query, _ = _parts(url)
    return (name for name, _ in _given(query))


def _parts(url: str) -> tuple[str, str, str]:
    before, hash_, fragment = url.partition("#")
    address, _, query = before.partition("?")
    return address, query, hash_ + fragment


def _given(query: str) -> Iterator[tuple[str, str]]:
    """Name and `name=value`, as it was written, of every parameter."""
    for given in query.split("&"):
        if given:
            name = given.partition("=")[0]
            yield (unquote_plus(name) if "%" in name or "+" in name else name), given
