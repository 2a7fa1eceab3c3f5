"""The parts of dalkit that need an extra of the distribution, and a sentence when it is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

#: What each extra brings, beyond what every dalkit has.
MODULES = {
    "auth0": ("jwt", "cryptography"),
    "otel": ("opentelemetry.sdk", "opentelemetry.exporter"),
    "testing": ("pytest", "asgi_lifespan"),
}
#: The parts that cannot be imported without their extra.
PARTS = {"dalkit.auth": "auth0", "dalkit.dev.issuer": "auth0", "dalkit.testing": "testing"}


class MissingExtra(ModuleNotFoundError):
    """A part of dalkit was used without the extra that it needs; the message says which."""


@contextmanager
def extra(name: str, part: str) -> Iterator[None]:
    """Raise MissingExtra when what `part` imports within the block is a module of that extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        if not f"{error.name}.".startswith(tuple(f"{module}." for module in MODULES[name])):
            raise
        raise missing(name, part, error.name) from None


def missing(name: str, part: str, module: str | None = None) -> MissingExtra:
    """Return the error of a `part` that lacks its extra."""
    sentence = f"{part} needs the extra {name}: pip install 'dalkit[{name}]'"
    return MissingExtra(sentence, name=module)
