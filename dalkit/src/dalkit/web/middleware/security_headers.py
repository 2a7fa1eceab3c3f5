"""Tells browsers to guess, frame and leak nothing."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_HSTS = (b"strict-transport-security", b"max-age=31536000")
_NO_CONTENT = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
# /docs is a page with scripts and styles: it needs more than an API's answers do.
_PAGE = (b"content-security-policy", b"frame-ancestors 'none'; base-uri 'none'")


class SecurityHeadersMiddleware:
    """Adds the headers that a response does not have yet (OWASP, "HTTP headers")."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        transport = (_HSTS,) if scope.get("scheme") == "https" else ()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                present = dict(headers)
                is_page = present.get(b"content-type", b"").startswith(b"text/html")
                wanted = (*_ALWAYS, _PAGE if is_page else _NO_CONTENT, *transport)
                added = [header for header in wanted if header[0] not in present]
                message = {**message, "headers": [*headers, *added]}
            await send(message)

        await self.app(scope, receive, send_with_headers)
