"""POST /slack: a front end reports its errors."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.params import Depends as DependsParam

from .limits import ReportLimits
from .notifier import SlackNotifier
from .payload import SlackLogger
from .text import fit
from .webhook import Payload

LONGEST_BODY = 16_384
_PATIENCE = 20.0


def slack_router(
    notifier: SlackNotifier,
    *,
    source: str | None = None,
    dependencies: Sequence[DependsParam] = (),
    limits: ReportLimits | None = None,
) -> APIRouter:
    """Return the router with `POST /slack`; `dependencies` guard it.

    `source` is named under every forwarded report; without it, the notifier's service is.
    """
    limits, source = limits or ReportLimits(), source or notifier.source
    router = APIRouter(tags=["slack"], dependencies=dependencies)

    async def within_limits(request: Request) -> None:
        if notifier.delivery is None:
            raise HTTPException(503, "Slack is not configured: SLACK_WEBHOOK_URL is not set.")
        if seconds := limits.retry_after(_reporter(request)):
            raise _refused(429, "Too many reports.", retry_after=seconds)

    @router.post(
        "/slack",
        status_code=204,
        dependencies=[Depends(within_limits), Depends(small_body)],
        responses={
            400: {"description": "Not JSON"},
            429: {"description": "Too many reports"},
            502: {"description": "Not sent"},
            503: {"description": "Slack is not configured"},
        },
    )
    async def forward_slack_logger(
        payload: SlackLogger,
        request: Request,
        wait: Annotated[bool, Query(description="Answer only when Slack has accepted it")] = False,
    ) -> None:
        """Forward a report to Slack; without `wait` it is queued and sent within seconds."""
        done = notifier.forward(_message(payload, request, source))
        if done is None:
            raise _refused(429, "Too many reports are waiting.", retry_after=30)
        if wait:
            await _accepted(done)

    return router


async def small_body(request: Request) -> None:
    """Refuse a body over 16 KB: Slack would not take it either."""
    if len(await request.body()) > LONGEST_BODY:
        raise HTTPException(413, f"A report takes {LONGEST_BODY} bytes.")


def _refused(status: int, detail: str, *, retry_after: int) -> HTTPException:
    return HTTPException(status, detail, {"Retry-After": str(retry_after)})


def _reporter(request: Request) -> str:
    """Return the verified user, or the client's address where nobody is verified."""
    client = request.client.host if request.client else "unknown"
    return getattr(request.state, "user_sub", None) or client


def _message(payload: SlackLogger, request: Request, source: str) -> Payload:
    """Return the client's blocks with a footer that they cannot forge."""
    user = fit(_reporter(request), 200)
    request_id = fit(str(getattr(request.state, "request_id", "")), 100)
    footer = f"Reported by {user} to {fit(source, 100)}, request {request_id}"
    blocks: list[dict[str, Any]] = [b.model_dump(exclude_none=True) for b in payload.blocks]
    return {
        "text": f"A report from {user}",
        "blocks": blocks,
        "attachments": [{"fallback": footer, "footer": footer}],
        "unfurl_links": False,
        "unfurl_media": False,
    }


async def _accepted(done: asyncio.Future[int]) -> None:
    """Return when Slack took the message. Raises 502, without any word of Slack's answer."""
    try:
        status = await asyncio.wait_for(done, _PATIENCE)
    except TimeoutError:
        raise HTTPException(502, "Slack has not accepted the report yet.") from None
    if status != 200:
        raise HTTPException(502, f"Slack refused the report (HTTP {status or 'no answer'}).")
