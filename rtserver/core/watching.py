"""Middleware that looks on: it is told of refusals, whether a plain hook raises them or an async one."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from rtserver.core.pipeline import ConnectContext, Middleware, Proceed, RequestContext, Result
from rtserver.errors import ConnectRefused, RequestRefused


class Watching(Middleware):
    """Override ``request_refused`` and ``connect_refused``. Put it first, so that it sees what all others refuse."""

    def request_refused(self, context: RequestContext, refused: RequestRefused) -> None:
        """A handshake was refused."""

    def connect_refused(self, context: ConnectContext, refused: ConnectRefused) -> None:
        """A join was refused."""

    # Refusals of plain hooks come out of ``proceed``, those of async ones when it is awaited.

    def request(self, context: RequestContext, proceed: Proceed[RequestContext]) -> Result:
        try:
            result = proceed(context)
        except RequestRefused as refused:
            self.request_refused(context, refused)
            raise
        if inspect.isawaitable(result):
            return _watch(result, RequestRefused, lambda refused: self.request_refused(context, refused))
        return result

    def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Result:
        try:
            result = proceed(context)
        except ConnectRefused as refused:
            self.connect_refused(context, refused)
            raise
        if inspect.isawaitable(result):
            return _watch(result, ConnectRefused, lambda refused: self.connect_refused(context, refused))
        return result


async def _watch(result: Awaitable[Any], kind: type[Exception], tell: Callable[[Any], None]) -> Result:
    try:
        return await result
    except kind as refused:
        tell(refused)
        raise
