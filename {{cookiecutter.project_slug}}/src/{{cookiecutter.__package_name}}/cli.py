"""The console script: `serve`, and a group of commands for every module in commands/."""

import pkgutil
from importlib import import_module
from typing import Annotated

import typer
import uvicorn

from . import commands

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

# Found by looking, so that a declined feature is one file less and no line here.
for found in pkgutil.iter_modules(commands.__path__):
    group = import_module(f".{found.name}", commands.__name__)
    app.add_typer(group.app, name=found.name)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="PORT", min=0, max=65535)] = 8000,
    reload: Annotated[bool, typer.Option(help="Restart when the source changes.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes; each has its own pool.")] = 1,
) -> None:
    """Serve the application with uvicorn."""
    if reload and workers > 1:
        raise typer.BadParameter("--reload serves with one worker only.")
    uvicorn.run(
        f"{__package__}.main:app",
        host=host,
        port=port,
        reload=reload,
        workers=workers,
        log_config=None,  # main.py configures the logs
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=30,
    )


if __name__ == "__main__":
    app()
