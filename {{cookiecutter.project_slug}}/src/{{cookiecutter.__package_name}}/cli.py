"""The console script: `serve`, `db`, `bulk`, and commands of your own."""

from dalkit.cli import service_cli

from .settings import Settings

app = service_cli(Settings)

if __name__ == "__main__":
    app()
