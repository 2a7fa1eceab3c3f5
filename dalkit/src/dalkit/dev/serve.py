"""The service with reload: python -m dalkit.dev.serve APP PORT PARENT, a process id."""

import os
import sys
from pathlib import Path

from ..server import serve
from .parent import end_with


def main() -> None:
    """Serve, and reload when the code or a migration changes."""
    app, port, parent = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    end_with(parent)
    folders = [
        folder for folder in ("src", "migrations", app.split(".")[0]) if Path(folder).is_dir()
    ]
    serve(app, port=port, reload_dirs=folders, timeout_graceful_shutdown=5)


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":  # the reloader's worker, which multiprocessing starts from here
    end_with(os.getppid())
