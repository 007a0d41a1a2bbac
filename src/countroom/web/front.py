"""What the server calls."""

from typing import Any

from litestar import Litestar

from countroom.web.callbacks import PREFIX, Callbacks


class Front:
    """What the server calls: providers' callbacks past the framework, everything else through it.

    A casino's requests are mostly callbacks, and the framework's layers would be a tenth of their cost.
    """

    def __init__(self, app: Litestar) -> None:
        self.app = app

    @property
    def callbacks(self) -> Callbacks:
        """Those that the application has made when it began."""
        found: Callbacks = self.app.state.callbacks
        return found

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand a connection on."""
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await self.callbacks(scope, receive, send)
        else:
            await self.app(scope, receive, send)
