"""Alembic's entry point; the work is done by dalkit.schema."""

from dalkit import Settings
from dalkit.schema import migrate

from tests.service.tables import metadata

migrate(metadata, Settings)
