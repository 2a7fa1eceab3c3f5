"""The app of server_process, for what imports it by its name: `serve` does."""

from .server_process import create

app = create()
