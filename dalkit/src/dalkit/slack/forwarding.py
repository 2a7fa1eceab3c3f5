"""POST /slack: a front end reports its errors, in blocks that cannot pretend to be another's."""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from math import ceil
from time import monotonic
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.params import Depends as DependsParam
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from .delivery import Payload
from .notifier import SlackNotifier
from .report import fit

_LONGEST_IN_ALL = 10_000
_LONGEST_BODY = 16_384
_MOST_USERS = 1000
_PATIENCE = 20.0  # seconds
_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"description": "Not JSON"},
    429: {"description": "Too many reports"},
    502: {"description": "Not sent"},
    503: {"description": "Slack is not configured"},
}


# A longer input is refused; what escaping makes longer is cut.
_Long = Annotated[
    str, Field(min_length=1, max_length=3000), AfterValidator(partial(fit, limit=3000))
]
_Short = Annotated[
    str, Field(min_length=1, max_length=150), AfterValidator(partial(fit, limit=150))
]


class _Strict(BaseModel):
    """No other member: no channel, user name, icon, image, link or button."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PlainText(_Strict):
    type: Literal["plain_text"]
    text: _Long


class Markdown(_Strict):
    """Text with Slack's formatting, but no mention, link or name that Slack looks up."""

    type: Literal["mrkdwn"]
    text: _Long
    verbatim: Literal[True] = True


class Title(PlainText):
    text: _Short


_Text = Annotated[PlainText | Markdown, Field(discriminator="type")]
_Texts = Annotated[list[_Text], Field(min_length=1, max_length=10)]


class Header(_Strict):
    type: Literal["header"]
    text: Title


class Section(_Strict):
    """A paragraph, or up to ten short ones side by side."""

    type: Literal["section"]
    text: _Text | None = None
    fields: _Texts | None = None

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if self.text is None and self.fields is None:
            raise ValueError("a section needs text or fields")
        if any(len(field.text) > 2000 for field in self.fields or ()):
            raise ValueError("a field takes 2000 characters")
        return self


class Context(_Strict):
    type: Literal["context"]
    elements: _Texts


class Divider(_Strict):
    type: Literal["divider"]


class SlackLogger(_Strict):
    """What a front end may send to POST /slack: blocks of the kinds that can describe an error.

    Every text is escaped when it is validated.
    """

    blocks: Annotated[
        list[Annotated[Header | Section | Context | Divider, Field(discriminator="type")]],
        Field(min_length=1, max_length=50),
    ]

    @model_validator(mode="after")
    def _fits_a_message(self) -> Self:
        texts: list[Any] = []
        for block in self.blocks:
            texts.append(getattr(block, "text", None))
            texts.extend(getattr(block, "fields", None) or getattr(block, "elements", None) or ())
        if sum(len(text.text) for text in texts if text is not None) > _LONGEST_IN_ALL:
            raise ValueError(f"a message takes {_LONGEST_IN_ALL} characters in all")
        return self


class TokenBucket:
    """`burst` times at once, then once every `every` seconds of `clock`."""

    def __init__(self, *, burst: int, every: float, clock: Callable[[], float] = monotonic) -> None:
        self._burst, self._every, self._clock = burst, every, clock
        self._left, self._at = float(burst), clock()

    def wait(self) -> float:
        """Count it and return 0.0 when it may be done now; otherwise return the seconds to wait."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) / self._every)
        self._at = now
        if self._left < 1:
            return (1 - self._left) * self._every
        self._left -= 1
        return 0.0


class ReportLimits:
    """`user` reports a minute of each user, the least recent of 1000 forgotten first, and
    `everybody` of all of them together.
    """

    def __init__(
        self, *, user: int = 5, everybody: int = 20, clock: Callable[[], float] = monotonic
    ) -> None:
        def bucket(rate: int) -> TokenBucket:
            return TokenBucket(burst=rate, every=60 / rate, clock=clock)

        self._users = lru_cache(_MOST_USERS)(lambda _: bucket(user))
        self._everybody = bucket(everybody)

    def retry_after(self, user: str) -> int:
        """Return 0 when `user` may report now, otherwise whole seconds until it makes sense."""
        return ceil(self._users(user).wait() or self._everybody.wait())


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

    async def check(request: Request) -> None:
        if notifier.delivery.url is None:
            raise HTTPException(503, "Slack is not configured: SLACK_WEBHOOK_URL is not set.")
        if seconds := limits.retry_after(_reporter(request)):
            raise HTTPException(429, "Too many reports.", {"Retry-After": str(seconds)})
        if len(await request.body()) > _LONGEST_BODY:  # Slack would not take it either
            raise HTTPException(413, f"A report takes {_LONGEST_BODY} bytes.")

    @router.post("/slack", status_code=204, dependencies=[Depends(check)], responses=_RESPONSES)
    async def forward_slack_logger(
        payload: SlackLogger,
        request: Request,
        wait: Annotated[bool, Query(description="Answer only when Slack has accepted it")] = False,
    ) -> None:
        """Forward a report to Slack; without `wait` it is queued and sent within seconds."""
        done = notifier.forward(_message(payload, request, source))
        if done is None:
            raise HTTPException(429, "Too many reports are waiting.", {"Retry-After": "30"})
        if not wait:
            return
        try:
            status = await asyncio.wait_for(done, _PATIENCE)
        except TimeoutError:
            raise HTTPException(502, "Slack has not accepted the report yet.") from None
        if status != 200:  # without any word of Slack's answer
            raise HTTPException(502, f"Slack refused the report (HTTP {status or 'no answer'}).")

    return router


def _reporter(request: Request) -> str:
    """The verified user, or the client's address where nobody is verified."""
    client = request.client.host if request.client else "unknown"
    return getattr(request.state, "user_sub", None) or client


def _message(payload: SlackLogger, request: Request, source: str) -> Payload:
    """Return the client's blocks with a footer that they cannot forge."""
    user = fit(_reporter(request), 200)
    request_id = fit(str(getattr(request.state, "request_id", "")), 100)
    footer = f"Reported by {user} to {fit(source, 100)}, request {request_id}"
    return {
        "text": f"A report from {user}",
        "blocks": [block.model_dump(exclude_none=True) for block in payload.blocks],
        "attachments": [{"fallback": footer, "footer": footer}],
        "unfurl_links": False,
        "unfurl_media": False,
    }
