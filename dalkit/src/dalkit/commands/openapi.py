"""The command that writes the OpenAPI document into a file, and compares it with one."""

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from ..schema.expected import typed_here
from ..settings import Settings, load
from . import fail

#: What stands for the tenant of a deployment: the document is that of the code.
TENANT = {"auth0_domain": "tenant.example", "auth0_audience": "https://api.example.com"}
MOST_DIFFERENCES = 5


def openapi_command(settings: type[Settings], package: str) -> Callable[..., None]:
    """Return the command `openapi`; the document is that of `create_app` in the package's `app`."""

    def openapi(
        context: typer.Context,
        output: Annotated[Path, typer.Option(help="The file to write.")] = Path("openapi.json"),
        check: Annotated[
            bool, typer.Option("--check", help="Only compare; 1 if it differs.")
        ] = False,
    ) -> None:
        """Write the OpenAPI document, which is the same whatever the environment; no database."""
        command = f"`{typed_here('openapi', f'{context.find_root().info_name} openapi')}`"
        made = import_module(f"{package}.app").create_app(_of_the_code(settings)).openapi()
        text = json.dumps(made, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        if not check:
            _write(output, text)
            typer.echo(f"Wrote {output}.")
        elif not output.exists():
            fail(f"{output} is missing: run {command} and commit it.")
        elif found := list(islice(_differences(_read(output), json.loads(text)), MOST_DIFFERENCES)):
            fail("\n  ".join([f"{output} is not what the code says: run {command}.", *found]))

    return openapi


def _of_the_code(settings: type[Settings]) -> Settings:
    """The settings with their defaults; what has none is read from the environment and `.env`."""
    made: dict[str, Any] = {}
    for name, field in settings.model_fields.items():
        if not field.is_required():
            made[name] = field.get_default(call_default_factory=True, validated_data=made)
    return load(settings, **made | TENANT)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        fail(f"{path} cannot be read: {error}.")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}.")


def _differences(there: Any, made: Any, *where: str) -> Iterator[str]:
    """Yield the places at which the document of a file is not the one that was made."""
    if isinstance(there, dict) and isinstance(made, dict):
        for key in dict.fromkeys([*made, *there]):
            if key in there and key in made:
                yield from _differences(there[key], made[key], *where, key)
            else:
                only = "the code" if key in made else "the file"
                yield f"{' > '.join([*where, key])} is only in {only}"
    elif there != made:
        yield f"{' > '.join(where)} differs"
