"""The console script of the service: python -m tests.service.cli"""

from dalkit.cli import service_cli

from .settings import Settings

app = service_cli(Settings)

if __name__ == "__main__":
    app()
