"""The console script of the service: python -m tests.service.cli"""

import os

from dalkit.cli import service_cli

from .settings import Settings

app = service_cli(Settings)

if __name__ == "__main__":
    # `db sync` of a local service writes its tables.py again, and this one's is in the repository,
    # while the migrations may be those of a copy to which a test has added one.
    os.environ.setdefault("ENVIRONMENT", "testing")
    app()
