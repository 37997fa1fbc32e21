"""Checks of every request before its body is read, and security headers of every response."""

import asyncio
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")
SAFE_METHODS = ("GET", "HEAD")
JSON_BYTES = 64 * 2**10  # of a request, unless its path says more
HEADERS = {
    # blob: for samples that the player decoded, data: for its icons; scripts only of ours
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class SecurityMiddleware:
    """Refuses requests from pages of other sites, and those with too large a body.

    Parameters
    ----------
    app : ASGI application
    most_bytes : mapping of str to int
        Largest bodies by the beginnings of paths; other requests are small.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: Mapping[str, int]) -> None:
        self.app, self.most_bytes = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it; answer one that is not done when the server ends."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        has_begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            try:
                await self.app(scope, receive, send_with_headers)
                return
            except asyncio.CancelledError:
                if has_begun:
                    raise
                refusal = 503, "the server ends"
        status, text = refusal
        answer = JSONResponse({"error": text}, status, headers={"connection": "close"})  # the body stays unread
        await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Return the status and reason of a refusal, or None."""
        if scope["method"] in SAFE_METHODS:
            return None
        headers = Headers(scope=scope)
        origin = headers.get("origin", "")
        if origin.partition("://")[2] != headers.get("host") or not origin.startswith(("http://", "https://")):
            return 403, "the request does not come from this page"
        announced = headers.get("content-length")
        if announced is None:
            no_body = scope["method"] == "DELETE" and "transfer-encoding" not in headers
            return None if no_body else (411, "the request does not say how long it is")
        if not announced.isascii() or not announced.isdigit():
            return 400, "the request does not say how long it is"
        most = next((n for path, n in self.most_bytes.items() if scope["path"].startswith(path)), JSON_BYTES)
        if int(announced[:20]) > most:
            return 413, f"it is too large; expected {most / 2**20:.3g} MiB at most"
        return None
