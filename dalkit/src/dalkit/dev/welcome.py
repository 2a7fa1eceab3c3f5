"""What `dalkit run` says once the service answers: where it is, and how to call it."""

import json
import socket
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from threading import Event
from typing import Any

from ..first_call import first_call
from .project import Project
from .token import token_command

HOST = "127.0.0.1"
POLL = 0.1  # seconds
TIMEOUT = 10.0  # seconds, for an answer


def welcome(project: Project, port: int, database: str, stopped: Event) -> None:
    """Print it as soon as the service answers, unless it is `stopped` before."""
    while not _listens(port):
        if stopped.wait(POLL):
            return
    page = "/" if _get(port, "/") is not None else "/docs"
    lines = {"service": f"http://{HOST}:{port}{page}   (stop with Ctrl-C)"}
    call = first_call(json.loads(_get(port, "/openapi.json") or "{}"))
    if call and call.is_guarded and (project.issuers / str(port)).exists():
        token = token_command(project, port, call.all_scopes)
        needed = token_command(project, port, call.scopes)
        bearer = f'-H "Authorization: Bearer $({needed})" '
        lines |= {"a token": token, "a call": f"curl {bearer}http://{HOST}:{port}{call.path}"}
    elif call and not call.is_guarded:
        lines["a call"] = f"curl http://{HOST}:{port}{call.path}"
    lines["database"] = database
    print("\n", *(f"  {name:<9} {line}\n" for name, line in lines.items()), sep="", flush=True)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), TIMEOUT):
        return True
    return False


def _get(port: int, path: str) -> Any:
    """Return the body of a 200, None for anything else."""
    connection = HTTPConnection(HOST, port, timeout=TIMEOUT)
    with suppress(OSError, HTTPException):
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return body if answer.status == 200 else None
    return None
