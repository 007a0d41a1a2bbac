"""Game providers' callbacks: in front of the framework, straight from the server or as a plain ASGI application.

A signed call costs less than half as much here as through a handler of the framework, and most
requests of a casino are these. The order is fixed: size, signature, parse, wallet.
"""

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from countroom.games import exchange, sessions
from countroom.games import service as games
from countroom.games.catalog import Catalog, Provider
from countroom.games.dialects import ANSWER_SECONDS, DIALECTS, Callback, Dialect, Reply
from countroom.games.dialects.softswiss_v2 import SoftswissV2
from countroom.games.recording import Recorder
from countroom.games.sessions import PlayedSession, Told
from countroom.postgres import Database
from countroom.refusal import Refusal
from countroom.wallet import service as wallet
from countroom.wallet.commands import Answer, Command
from countroom.web.addresses import ADDRESS_REFUSED, CallbackNetworks

if TYPE_CHECKING:
    from litestar.types import HTTPScope, Receive, Send

PREFIX: Final = "/providers/"
"""Where callbacks are; what follows is the provider's code and the action."""


class Wallet:
    """The wallet as dialects see it."""

    def __init__(
        self, database: Database, batcher: wallet.Batcher, policy: games.HousePolicy, recorder: Recorder
    ) -> None:
        self.database = database
        self.batcher = batcher
        self.recorder = recorder
        self.sessions = sessions.Sessions(database, policy)

    async def apply(self, command: Command) -> Answer:
        """Apply a command; raises its refusal, or Overloaded when the database takes too long."""
        try:
            answer = await self.batcher.submit(command)
        except Refusal as refusal:
            self.recorder.of(command.source).note(refusal.code)
            raise
        for posted in answer.operations:
            if posted.id is None:
                self.recorder.of(command.source).met(command, answer)
                break
        return answer

    async def balance(self, user_id: UUID, currency: str) -> Decimal:
        """Return what the player can play with."""
        return await wallet.spendable(self.database, user_id, currency)

    async def game_of_round(self, provider: Provider, user_id: UUID, round_key: str) -> UUID | None:
        """Find in which of the provider's games a player's round is."""
        return await games.game_of_round(self.database, provider, user_id=user_id, round_key=round_key)

    async def session(self, provider: Provider, name: str) -> PlayedSession | None:
        """Return a session of one of the provider's games by our id; None when there is none."""
        return await self.sessions.by_id(provider, name)

    async def session_of_token(self, provider: Provider, token: str) -> PlayedSession | None:
        """Return a session of one of the provider's games by its launch token; None when there is none."""
        return await self.sessions.by_token(provider, token)

    async def enter_game(self, session: PlayedSession, game_id: UUID) -> PlayedSession:
        """Return the session for another game, into which the player went from the provider's own lobby."""
        return await self.sessions.in_game(session, game_id)

    async def latest_game(self, provider: Provider, user_id: UUID) -> UUID | None:
        """Return which of the provider's games a player has launched last."""
        return await sessions.latest_game(self.database, provider, user_id)

    async def exchange(self, provider: Provider, token: str) -> games.Begun:
        """Take a launch token of one of the provider's games; raises the refusals of `games.exchange`."""
        return await games.exchange(self.database, provider_code=provider.code, token=token)

    async def country(self, user_id: UUID) -> str | None:
        """Return where a player lives; raises UnknownPlayer."""
        return await sessions.country(self.database, user_id)

    async def told(self, provider: Provider, keys: Sequence[str]) -> Mapping[str, Told]:
        """Return what the provider has told before under these ids, or about them by a reversal."""
        return await sessions.told(self.database, provider.code, keys)


class Callbacks:
    """`/providers/{provider_code}/{action}`: who calls, in which dialect, and in how long."""

    def __init__(self, catalog: Catalog, port: Wallet, recorder: Recorder, networks: CallbackNetworks) -> None:
        self.catalog = catalog
        self.networks = networks
        self.port = port
        self.recorder = recorder
        self.budget = _Budget()

    async def __call__(self, scope: "HTTPScope", receive: "Receive", send: "Send") -> None:
        """Answer one call that comes by ASGI."""
        path = scope["path"]
        _, dialect = self._called(path.removeprefix(PREFIX).partition("/")[0])
        body = await _read(receive, (dialect or _FALLBACK).body_bytes_max)
        reply = await self.answer(
            path, list(scope["headers"]), body, scope.get("client"), method=scope["method"], query=scope["query_string"]
        )
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(reply.body)).encode())]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body, "more_body": False})

    async def answer(
        self, path: str, headers: Sequence[tuple[bytes, bytes]], body: bytes | None, client: Any, *,
        method: str = "POST", query: bytes = b"",
    ) -> Reply:  # fmt: skip
        """Answer one call, whatever it is; ``body`` is None where it was too large to be read."""
        began = time.perf_counter()
        code, _, action = path.removeprefix(PREFIX).rstrip("/").partition("/")
        provider, dialect = self._called(code)
        callback = None
        if provider is None or dialect is None:
            reply = _FALLBACK.unknown_provider()
        elif not self.networks.admit(code, client):
            # As if there were no such provider: whoever calls from elsewhere learns nothing.
            reply = replace(dialect.unknown_provider(), code=ADDRESS_REFUSED)
        else:
            if body is not None and len(body) > dialect.body_bytes_max:
                body = None
            callback = Callback(action, dict(headers), body, method, query)
            is_exchange = action == exchange.ACTION
            call = exchange.answer(provider, dialect, callback, self.port) if is_exchange else None
            told = await self.budget.keep(call or dialect.answer(provider, callback, self.port))
            # What was asked may still be done: the provider asks again, or takes it back, with the same ids.
            reply = told or (exchange.OUT_OF_TIME if is_exchange else dialect.out_of_time(callback))
        seconds = time.perf_counter() - began
        is_known = action == exchange.ACTION or action in (dialect or _FALLBACK).actions
        tally = self.recorder.of(code if provider is not None else "unknown")
        tally.answered(action if is_known else "other", callback, reply, seconds)
        return reply

    def _called(self, code: str) -> tuple[Provider | None, Dialect | None]:
        provider = self.catalog.providers.get(code)
        return provider, DIALECTS.get(provider.dialect) if provider is not None else None


class _Budget:
    """The time in which callbacks are answered: one timer for all that are under way.

    They have equally long, so the one that came first is the first to be late. A timer each (`asyncio.timeout`) was a
    twentieth of a callback's time.
    """

    def __init__(self) -> None:
        self._until: dict[asyncio.Task[Any], float] = {}
        """Of each call under way, in the order in which they came: the loop's time at which it is given up."""
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def keep(self, answer: Awaitable[Reply]) -> Reply | None:
        """Await an answer; None when it took longer than `ANSWER_SECONDS`. A task has one call under way at a time."""
        task = asyncio.current_task()
        assert task is not None
        loop = task.get_loop()
        self._until[task] = loop.time() + ANSWER_SECONDS
        if self._timer is None:
            self._timer = loop.call_at(self._until[task], self._give_up, loop)
        try:
            return await answer
        except asyncio.CancelledError:
            if task in self._late and task.uncancel() == 0:
                return None
            raise
        finally:
            del self._until[task]
            self._late.discard(task)
            if not self._until and self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _give_up(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._timer = None
        for task, until in self._until.items():
            if until > now:
                self._timer = loop.call_at(until, self._give_up, loop)
                break
            if task not in self._late:
                self._late.add(task)
                task.cancel()


_FALLBACK: Final[Dialect] = SoftswissV2()


async def _read(receive: "Receive", bytes_max: int) -> bytes | None:
    """Read the body, or None when it is larger than the cap; the rest is not kept."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None  # the caller has gone
        body += message.get("body", b"")
        if len(body) > bytes_max:
            return None
        if not message.get("more_body"):
            return body
