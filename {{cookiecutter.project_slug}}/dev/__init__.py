"""Tools for development and tests; nothing under src/ imports them."""
