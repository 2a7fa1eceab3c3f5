"""The application that the server imports."""

from dalkit.observe import configure_logging
from dalkit.settings import Settings, load

from .app import create_app

settings = load(Settings)
configure_logging(settings.log_level, settings.log_format)
app = create_app(settings)
