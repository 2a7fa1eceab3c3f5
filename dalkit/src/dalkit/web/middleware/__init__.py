"""What happens around every request, one pure ASGI middleware a file."""

from .install import install_middleware

__all__ = ["install_middleware"]
