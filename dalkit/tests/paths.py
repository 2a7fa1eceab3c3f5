"""Where things are in this checkout."""

from pathlib import Path

#: The folder of the distribution, with pyproject.toml.
PROJECT = Path(__file__).resolve().parents[1]
#: The service that the tests are made for, with its migrations.
SERVICE = PROJECT / "tests" / "service"
