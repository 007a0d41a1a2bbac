"""Which player, game and currency a session stands for, and what a provider has told about an id.

Some protocols name the session alone, at each bet. What a session stands for never changes, so it is read once
and remembered; whether it is still open is the wallet's to decide, at each bet (P7).
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

import msgspec

from countroom import clock
from countroom.games import launching, queries, session_queries
from countroom.games.catalog import Provider
from countroom.games.rules import HousePolicy
from countroom.postgres import Database
from countroom.wallet.refusals import UnknownPlayer

SESSIONS_MAX: Final = 20_000
"""Remembered by a process, some 10 MB; those that were not played for longest are forgotten."""


class PlayedSession(msgspec.Struct, frozen=True, gc=False):
    """What a session stands for."""

    id: UUID
    user_id: UUID
    game_id: UUID
    currency: str
    provider_code: str


class Told(msgspec.Struct, gc=False):
    """What a provider has told about one of its ids."""

    type: Literal["bet", "win", "reversal", "other", ""] = ""
    """What came under the id itself; empty when nothing did."""
    user_id: UUID | None = None
    currency: str = ""
    game_id: UUID | None = None
    amount: Decimal = Decimal(0)
    """Of money, main and bonus together."""
    reversed_by: str | None = None
    """The id of the one reversal that counts."""


class Sessions:
    """The sessions that are played, held in memory by each process."""

    def __init__(self, database: Database, policy: HousePolicy) -> None:
        self.database = database
        self.policy = policy
        self._by_name: OrderedDict[UUID | bytes | tuple[UUID, UUID], PlayedSession] = OrderedDict()

    async def by_id(self, provider: Provider, name: str) -> PlayedSession | None:
        """Return a session of one of the provider's games by our id; None when there is none."""
        try:
            session_id = clock.parse_id(name)
        except ValueError:
            return None
        return self._of(provider, self._recall(session_id) or await self._read(session_id, None))

    async def by_token(self, provider: Provider, token: str) -> PlayedSession | None:
        """Return a session of one of the provider's games by its launch token; None when there is none."""
        token_hash = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        return self._of(provider, self._recall(token_hash) or await self._read(None, token_hash))

    async def in_game(self, session: PlayedSession, game_id: UUID) -> PlayedSession:
        """Return the session for another game, into which the player went from the provider's own lobby.

        It is opened with the first bet there, as long as the session itself is open and the player passes the gates
        of a launch. It carries its id as the provider's: both end together.

        Raises:
            AlreadyPlaying, and each of those of `rules.check_launch`: nothing was opened.
        """
        if session.game_id == game_id:
            return session
        name = (session.id, game_id)
        found = self._recall(name)
        if found is None:
            entered = await launching.enter(
                self.database, session_id=session.id, user_id=session.user_id, currency=session.currency,
                game_id=game_id, policy=self.policy,
            )  # fmt: skip
            if entered is None:
                return session  # it has ended: no bet is taken on it
            found = PlayedSession(entered, session.user_id, game_id, session.currency, session.provider_code)
            self._remember(name, found)
        return found

    def _of(self, provider: Provider, session: PlayedSession | None) -> PlayedSession | None:
        return session if session is not None and session.provider_code == provider.code else None

    def _recall(self, name: UUID | bytes | tuple[UUID, UUID]) -> PlayedSession | None:
        session = self._by_name.get(name)
        if session is not None:
            self._by_name.move_to_end(name)
        return session

    def _remember(self, name: UUID | bytes | tuple[UUID, UUID], session: PlayedSession) -> None:
        self._by_name[name] = session
        if len(self._by_name) > SESSIONS_MAX:
            self._by_name.popitem(last=False)

    async def _read(self, session_id: UUID | None, token_hash: bytes | None) -> PlayedSession | None:
        async with self.database.connection() as connection:
            row = await queries.session(connection, session_id, token_hash)
            if row is None:
                return None
            *values, is_begun = row.values()
            session = PlayedSession(*values)
            if token_hash is not None and not is_begun:
                # This protocol carries the token in each call; the first one has used it up for everybody else.
                await session_queries.note_first_use(connection, session.id)
        name = session_id or token_hash
        assert name is not None
        self._remember(name, session)
        return session


async def latest_game(database: Database, provider: Provider, user_id: UUID) -> UUID | None:
    """Return which of the provider's games a player has launched last."""
    async with database.connection() as connection:
        return await queries.latest_game(connection, list(provider.games.values()), user_id)


async def country(database: Database, user_id: UUID) -> str | None:
    """Return where a player lives.

    Raises:
        UnknownPlayer: there is no such player.
    """
    async with database.connection() as connection:
        row = await queries.player(connection, user_id)
    if row is None:
        raise UnknownPlayer
    lives: str | None = row["country"]
    return lives


async def told(database: Database, source: str, keys: Sequence[str]) -> dict[str, Told]:
    """Return what a provider has told before under these ids, or about them by a reversal."""
    prefix = f"{source}:"
    known: dict[str, Told] = {key: Told() for key in keys}
    async with database.connection() as connection:
        rows = await queries.told(connection, [prefix + key for key in keys])
    for row in rows:
        about = known[row["external_id"].removeprefix(prefix)]
        if row["reversed_by"] is not None:
            about.reversed_by = row["reversed_by"].removeprefix(prefix)
        else:
            about.type, about.user_id = row["type"], row["user_id"]
            about.currency, about.game_id, about.amount = row["currency"], row["game_id"], row["amount"]
    return known
