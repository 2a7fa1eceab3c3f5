"""The service's own environment variables."""

import dalkit


class Settings(dalkit.Settings):
    """The configuration of one process."""
