"""Which origins may talk to the engine, and what browsers are told about it.

Rule: a browser names its origin and cannot lie about it; anything else need not
name one. So no Origin is allowed, and a foreign one is refused on every request,
the WebSocket upgrade included. Source: Fetch standard, "CORS protocol"; RFC 6455, 10.2.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from rtserver.config import Cors
from rtserver.transports.request import Request, Response

# Names of headers, as a preflight lists them. Source: RFC 9110, 5.6.2.
_NAMES = re.compile(r"[\w!#$%&'*+.^`|~-]+(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+)*", re.ASCII)


class OriginPolicy:
    """Decides on origins. Without a ``Cors`` only pages of the request's own host are let in."""

    def __init__(self, cors: Cors | None) -> None:
        self._cors = cors
        self._any = cors is not None and cors.origins == "*"
        self._allowed = frozenset() if cors is None or self._any else frozenset(cors.origins)

    def allows(self, request: Request) -> bool:
        """Whether whoever sent ``request`` may talk to us."""
        origin = request.headers.get("origin")
        if origin is None or self._any:
            return True
        return origin.lower() in self._allowed or _same_host(origin, request.headers.get("host", ""))

    def headers(self, request: Request) -> list[tuple[str, str]]:
        """The headers that an answer to ``request`` carries."""
        cors = self._cors
        if cors is None:
            return []
        if self._any:
            headers = [("Access-Control-Allow-Origin", "*")]
        else:
            headers = [("Vary", "Origin")]
            origin = request.headers.get("origin")
            if origin is None or origin.lower() not in self._allowed:
                return headers
            headers.insert(0, ("Access-Control-Allow-Origin", origin))
            if cors.credentials:
                headers.append(("Access-Control-Allow-Credentials", "true"))
        if cors.exposed_headers:
            headers.append(("Access-Control-Expose-Headers", ",".join(cors.exposed_headers)))
        return headers

    def preflight(self, request: Request) -> Response | None:
        """The answer if ``request`` is a preflight that this policy answers, else None."""
        cors = self._cors
        if cors is None or request.method != "OPTIONS":
            return None
        headers = self.headers(request)
        asked = request.headers.get("access-control-request-headers", "")
        if not _NAMES.fullmatch(asked):
            asked = ""
        if cors.allowed_headers is None:
            vary = "Access-Control-Request-Headers"
            if ("Vary", "Origin") in headers:
                headers[headers.index(("Vary", "Origin"))] = ("Vary", f"Origin, {vary}")
            else:
                headers.append(("Vary", vary))
        granted = asked if cors.allowed_headers is None else ",".join(cors.allowed_headers)
        if any(name == "Access-Control-Allow-Origin" for name, _ in headers):
            headers.append(("Access-Control-Allow-Methods", ",".join(cors.methods)))
            if granted:
                headers.append(("Access-Control-Allow-Headers", granted))
            if cors.max_age is not None:
                headers.append(("Access-Control-Max-Age", str(cors.max_age)))
        return Response(204, headers=headers)


def _same_host(origin: str, host: str) -> bool:
    """Ports aside, as for cookies: development servers and proxies change them."""
    try:
        page, own = urlsplit(origin).hostname, urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return page is not None and page == own
