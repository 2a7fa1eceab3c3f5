"""The console script of the service: python -m tests.service.cli"""

from dalkit.cli import service_cli
from dalkit.settings import Settings

app = service_cli("tests.service", Settings)

if __name__ == "__main__":
    app()
