"""The service's own environment variables; those of the platform are in dalkit.Settings."""

import dalkit


class Settings(dalkit.Settings):
    """The configuration of one process; also read from `.env`."""
