"""Which parts of dalkit need an extra of the distribution, and one sentence when it is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

#: The part, the extra, and the modules that the extra brings.
EXTRAS = {
    "dalkit.auth": ("auth0", ("jwt", "cryptography")),
    "dalkit.dev.issuer": ("auth0", ("jwt", "cryptography")),
    "dalkit.observe.telemetry": ("otel", ("opentelemetry.sdk", "opentelemetry.exporter")),
    "dalkit.testing": ("testing", ("pytest", "anyio", "asgi_lifespan")),
}


class MissingExtra(ModuleNotFoundError):
    """A part of dalkit was imported without the extra that it needs; the message says which."""


@contextmanager
def extra(part: str) -> Iterator[None]:
    """Raise MissingExtra when an import within the block misses a module of the extra of `part`."""
    name, modules = EXTRAS[part]
    try:
        yield
    except ModuleNotFoundError as error:
        missing = f"{error.name}."
        if isinstance(error, MissingExtra) or not any(missing.startswith(f"{m}.") for m in modules):
            raise
        raise MissingExtra(
            f"{part} needs the extra {name}: pip install 'dalkit[{name}]'", name=error.name
        ) from None
