"""The one way to serve: `<service> serve`, the image, compose and `make run` come here."""

from collections.abc import Sequence

import uvicorn

from .protocol import LimitedProtocol


def serve(
    app: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    reload_dirs: Sequence[str] = (),
    timeout_graceful_shutdown: int = 30,
) -> None:
    """Serve `app` ("package.main:app") with uvicorn until it is told to stop.

    With `reload_dirs` it restarts when a file there changes. `timeout_graceful_shutdown` is in
    seconds. The logs are the application's to configure, the access log is its middleware's.
    """
    uvicorn.run(
        app,
        host=host,
        port=port,
        workers=None if reload_dirs else workers,
        reload=bool(reload_dirs),
        reload_dirs=list(reload_dirs) or None,
        http=LimitedProtocol,
        ws="websockets-sansio",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=timeout_graceful_shutdown,
    )
