"""Answers that the proxy gives by itself, as JSON that a page of an allowed origin may read."""

from __future__ import annotations

import email.utils
from http import HTTPStatus

import msgspec

from proxy.errors import BadGateway, BadRequest, UnknownSession
from proxy.head import RequestHead
from proxy.settings import Settings

RETRY_AFTER = 1
_UNKNOWN_SID = b'{"code":1,"message":"Session ID unknown"}'


def refusal(exc: BadRequest | BadGateway | UnknownSession, head: RequestHead | None, settings: Settings) -> bytes:
    """The answer to a request that gets no further. The connection ends with it."""
    if isinstance(exc, UnknownSession):
        return answer(400, _UNKNOWN_SID, cors_headers(head, settings))
    body = msgspec.json.encode({"code": exc.status, "message": exc.message})
    headers = cors_headers(head, settings)
    if exc.status in (429, 503):
        headers.append(f"Retry-After: {RETRY_AFTER}")
    return answer(exc.status, body, headers)


def answer(status: int, body: bytes, headers: list[str], content_type: str = "application/json") -> bytes:
    """A whole answer, after which the connection closes."""
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Content-Type: {content_type}",
        *headers,
        f"Content-Length: {len(body)}",
        f"Date: {email.utils.formatdate(usegmt=True)}",
        "Connection: close\r\n\r\n",
    ]
    return "\r\n".join(lines).encode("latin-1") + body


def cors_headers(head: RequestHead | None, settings: Settings) -> list[str]:
    """What lets a page of an allowed origin read the answer.

    Source: Fetch standard, "CORS protocol".
    """
    if settings.cors == "*":
        return ["Access-Control-Allow-Origin: *"]
    if not settings.cors:
        return []
    headers = ["Vary: Origin"]
    origin = head.get(b"origin") if head is not None else None
    # What is repeated is an entry of our own list, so nothing of a client's reaches a header.
    allowed = [one for one in settings.cors if origin is not None and one == origin.decode("latin-1").lower()]
    if allowed:
        headers.append(f"Access-Control-Allow-Origin: {allowed[0]}")
        if settings.cors_credentials:
            headers.append("Access-Control-Allow-Credentials: true")
    return headers
