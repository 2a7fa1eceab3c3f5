"""The application that the server imports."""

from dalkit.observe import configure_logging
from dalkit.settings import load

from .app import create_app
from .settings import Settings

settings = load(Settings)
configure_logging(settings.log_level, settings.log_format)
app = create_app(settings)
