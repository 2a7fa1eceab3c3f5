"""Tools for development and tests; a service in production imports none of them."""
