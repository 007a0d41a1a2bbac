"""How a provider's call comes from the socket to `Callbacks`, and its answer back.

The server's own protocol does everything about connections. The call that nearly all are (a POST whose length was
said, on a connection that has nothing else under way) is taken from its parser as it comes, without ASGI's messages,
events and tasks between: they were an eighth of a callback's time (docs/decisions/0030). Every other request goes on
as ever, also to the same callbacks.
"""

import asyncio
from typing import Any, Final

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from countroom.games.dialects import Reply
from countroom.web.callbacks import PREFIX, Callbacks
from countroom.web.front import Front

_PREFIX: Final = PREFIX.encode()
LENGTH_DIGITS_MAX: Final = 5
"""Of a body's length: a larger one than this says may be cut off while it is read, which is ASGI's way."""


class Call:
    """A call under way, as the server's protocol sees it: in place of its own cycle of request and response."""

    __slots__ = ("body", "disconnected", "headers", "keep_alive", "path", "query", "response_complete")

    def __init__(
        self, path: str, query: bytes, headers: list[tuple[bytes, bytes]], *, keep_alive: bool
    ) -> None:  # fmt: skip
        self.path, self.query, self.headers, self.keep_alive = path, query, headers, keep_alive
        self.body = b""
        self.disconnected = False
        self.response_complete = False

    @property
    def message_event(self) -> "Call":
        """What the server's protocol sets when the caller has gone; nobody waits for it here."""
        return self

    def set(self) -> None:
        """Wake nobody."""


class _Head:
    """The lines that every answer has, which the server makes anew each second (the date is among them)."""

    def __init__(self) -> None:
        self._of: list[tuple[bytes, bytes]] = []
        self._lines = b""

    def lines(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        if headers is not self._of:
            self._of = headers
            self._lines = b"".join(b"%b: %b\r\n" % header for header in headers) + b"content-type: application/json\r\n"
        return self._lines


_HEAD: Final = _Head()
_FAILED: Final = Reply(500, b'{"code":"internal"}', "failed")
"""A fault of ours outside every dialect: whatever the protocol, the provider asks again."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        app: Any = self.app
        self.proxies = app if isinstance(app, ProxyHeadersMiddleware) else None
        front = app.app if isinstance(app, ProxyHeadersMiddleware) else app
        self.callbacks: Callbacks | None = front.callbacks if isinstance(front, Front) else None
        self.coming: Call | None = None
        """The call whose body is being read."""
        self.answering: asyncio.Task[None] | None = None
        """What answers this connection's calls, one after the other: a task for each would cost 2 µs more."""
        self.next: asyncio.Future[Call] = self.loop.create_future()
        """What it waits for."""

    # What the parser finds ---------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin with nothing but what every request has; the scope of ASGI is made where it is wanted."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self.coming = None

    def on_headers_complete(self) -> None:
        """Take a usual call, or let the server's protocol go on with the request."""
        if self.callbacks is not None and self.url.startswith(_PREFIX) and self._is_usual():
            path, _, query = self.url.partition(b"?")
            self.cycle = self.coming = Call(  # type: ignore[assignment]
                path.decode("ascii"), query, self.headers, keep_alive=self.parser.should_keep_alive()
            )
            return
        url, headers, expect_100_continue = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect_100_continue
        self.headers += headers
        super().on_headers_complete()

    def _is_usual(self) -> bool:
        if self.cycle is not None and not self.cycle.response_complete:
            return False  # the one before is not answered yet
        if self.parser.get_method() != b"POST" or self.parser.get_http_version() != "1.1":
            return False
        if b"%" in self.url or b"#" in self.url or not self.url.isascii():
            return False  # an address that has to be read more closely
        if self.expect_100_continue or self.limit_concurrency is not None:
            return False
        lengths = [value for name, value in self.headers if name == b"content-length"]
        return len(lengths) == 1 and len(lengths[0]) <= LENGTH_DIGITS_MAX and not self.parser.should_upgrade()

    def on_body(self, body: bytes) -> None:
        """Keep what has come."""
        if self.coming is None:
            super().on_body(body)
        else:
            self.coming.body += body

    def on_message_complete(self) -> None:
        """Answer a call that is all there."""
        if self.coming is None:
            super().on_message_complete()
            return
        self.next.set_result(self.coming)
        self.coming = None
        if self.answering is None:
            self.answering = self.loop.create_task(self._answer_all())
        self.tasks.add(self.answering)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what waits for the connection's next call; one that is under way goes on."""
        super().connection_lost(exc)
        self.next.cancel()

    # What the caller gets ----------------------------------------------------------------

    async def _answer_all(self) -> None:
        while self.parser is not None:  # the connection is there
            call = await self.next
            self.next = self.loop.create_future()
            await self._answer(call)

    async def _answer(self, call: Call) -> None:
        assert self.callbacks is not None
        assert self.answering is not None
        try:
            client = self._client(call)
            reply = await self.callbacks.answer(call.path, call.headers, call.body, client, query=call.query)
        except Exception:
            self.logger.exception("a callback failed")
            reply = _FAILED
        finally:
            self.tasks.discard(self.answering)
        if self.flow.write_paused:
            await self.flow.drain()
        if not call.disconnected:
            self._send(call, reply)

    def _send(self, call: Call, reply: Reply) -> None:
        """Write an answer at once: two messages with their checks were an eighth of a callback's time."""
        last = b"" if call.keep_alive else b"connection: close\r\n"
        self.transport.write(
            b"%b%b%bcontent-length: %d\r\n\r\n%b"
            % (
                STATUS_LINE[reply.status], _HEAD.lines(self.server_state.default_headers), last, len(reply.body),
                reply.body,
            )
        )  # fmt: skip
        call.response_complete = True
        if not call.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _client(self, call: Call) -> tuple[str, int] | None:
        """Return who calls: the peer, or whom a proxy that we trust names."""
        if self.proxies is None or self.client is None or self.client[0] not in self.proxies.trusted_hosts:
            return self.client
        named = b", ".join([value for name, value in call.headers if name == b"x-forwarded-for"]).decode("latin1")
        host, port = self.proxies.trusted_hosts.get_trusted_client_address(named) if named else ("", 0)
        return (host, port) if host else self.client
