"""Alembic's entry point: `alembic`, `make migrate` and `db sync` come here."""

from dalkit.schema import migrate

from {{ cookiecutter.__package_name }}.settings import Settings
from {{ cookiecutter.__package_name }}.tables import metadata

migrate(metadata, Settings)
