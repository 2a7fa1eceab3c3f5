"""The app with reload, for `make run`: python -m dev.serve PORT PARENT, a process id."""

import ctypes
import os
import signal
import sys

import uvicorn

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def end_with(parent: int) -> None:
    """Get SIGTERM when the process that started this one is gone, however it ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before prctl
        sys.exit(1)


def main() -> None:
    """Serve, and reload when the code or a migration changes."""
    end_with(int(sys.argv[2]))
    uvicorn.run(
        "{{ cookiecutter.__package_name }}.main:app",
        host="127.0.0.1",
        port=int(sys.argv[1]),
        reload=True,
        reload_dirs=["src", "migrations"],
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":  # the reloader's worker, which multiprocessing starts from here
    end_with(os.getppid())
