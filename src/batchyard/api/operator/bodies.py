"""Bodies have an end, whoever sends them."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Bodies:
    """Refuses a body that is larger than allowed, counted as it comes in.

    Lists are read as streams, under limits of their own.
    """

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self.app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        size = 0

        async def receive_some() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            # By now the route is known: whoever describes its body itself reads it itself.
            describes = getattr(scope.get("route"), "openapi_extra", None) or {}
            if size > self._limit and "requestBody" not in describes:
                raise HTTPException(413, f"A body is at most {self._limit} bytes.")
            return message

        await self.app(scope, receive_some, send)
