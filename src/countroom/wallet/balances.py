"""Balances in Redis: `wallet:balance:{walletId}`, written after the commit that made them, read for showing them.

PostgreSQL is the truth and is what every decision about money reads; so does a provider that asks for a
balance. What is read here is shown to its player, and may be behind by the milliseconds that a balance takes to
get from the process that committed it into Redis. This process's own changes are known here before that.

An older sequence never overwrites a newer one, whoever writes last. Redis being away or frozen makes reads
slower, by a bounded wait that one read a second pays, and costs nothing else. Should a process die
between its commit and its write, the key's time to live bounds how long it is behind.
"""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Final, Protocol, Self, TypeAlias
from uuid import UUID

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from countroom.postgres import Database
from countroom.redis import BALANCE_SECONDS, balance_key
from countroom.wallet import history_queries as queries

PENDING_MAX: Final = 50_000
"""Wallets that may wait for a Redis that is away, some 15 MB; beyond, those that wait longest are forgotten, and
their keys expire."""
GATHER_SECONDS: Final = 0.01
"""The least time between two writes. The first change after a pause is written at once; where bets come in passes
of a few milliseconds, what they change goes together, and a wallet that several of them change goes once."""
RETRY_SECONDS: Final = 1.0
READ_SECONDS: Final = 0.1
"""A read of Redis that takes longer is given up: PostgreSQL has answered long before. It takes 0.3 ms; what is
above that leaves room for a busy event loop."""
PAUSE_SECONDS: Final = 1.0
"""How long a Redis that did not answer is left alone; then one read tries it again."""
SAID_SECONDS: Final = 60.0
"""How long it is not said again that Redis does not answer."""
FLUSH_SECONDS: Final = 0.5
"""What a process that ends takes to write what still waits."""
PLAYERS_MAX: Final = 10_000
"""Players whose wallets' names are remembered, some 10 MB."""
NAMES_SECONDS: Final = 60.0
"""How long: a wallet that another process opens is seen at the latest then."""
_READS: Final = Counter("countroom_balance_reads", "Reads of a player's balances.", ["source"])
_FROM_REDIS: Final = _READS.labels("redis")
_FROM_POSTGRESQL: Final = _READS.labels("postgresql")
_KEPT: Final = re.compile(r"(\d{1,19}):(\d+(?:\.\d+)?)", re.ASCII)

_SET_IF_NEWER: Final = """
-- KEYS are wallets' keys; ARGV a sequence and a balance for each: written unless what is there is newer.
-- What is no balance at all is overwritten: one such key must not stand in the way of all others.
local found = redis.call('MGET', unpack(KEYS))
for i, key in ipairs(KEYS) do
    local kept = found[i]
    local sequence = kept and tonumber(string.match(kept, '^(%d+):'))
    if not sequence or sequence <= tonumber(ARGV[2 * i - 1]) then
        redis.call('SET', key, ARGV[2 * i - 1] .. ':' .. ARGV[2 * i], 'EX', SECONDS)
    end
end
""".replace("SECONDS", str(BALANCE_SECONDS))
KEYS_MAX: Final = 500
"""Of one call of the script: Redis does nothing else meanwhile. (A cluster wants calls by slot.)"""

_log = structlog.get_logger()


class Changed(Protocol):
    """A wallet as a commit has left it."""

    id: UUID
    balance: Decimal
    sequence: int


@dataclass(frozen=True, slots=True)
class Name:
    """What never changes of a wallet."""

    id: UUID
    currency: str
    type: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A wallet with its balance, for showing it."""

    id: UUID
    currency: str
    type: str
    balance: Decimal


class BalanceCache:
    """Writes changed balances in the background, the newest of each wallet, and reads them."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._sha: str | None = None
        self._pending: dict[UUID, _Value] = {}
        self._taken: dict[UUID, _Value] = {}
        """What the writer is writing."""
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._closing = False
        self._names: dict[UUID, tuple[float, tuple[Name, ...]]] = {}
        """By player, those read longest ago first, with the time until which they are believed."""
        self._quiet_until = 0.0
        """Until when Redis is not asked, on the event loop's clock; zero while it answers."""
        self._said_until = 0.0

    async def __aenter__(self) -> Self:
        """Start writing."""
        self._writer = asyncio.create_task(self._write_for_ever())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; what is pending is written if Redis answers in time, and forgotten otherwise."""
        assert self._writer is not None
        self._closing = True
        self._wake.set()
        await asyncio.wait([self._writer], timeout=0 if self._quiet_until else FLUSH_SECONDS)
        while not self._writer.done():  # a reply that comes at the same moment makes the client miss a cancellation
            self._writer.cancel()
            await asyncio.wait([self._writer], timeout=FLUSH_SECONDS)

    def changed(self, wallets: Iterable[Changed]) -> None:
        """Remember wallets whose new balance was just committed; returns at once."""
        for wallet in wallets:
            _keep_newer(self._pending, wallet.id, (wallet.sequence, str(wallet.balance)))
        self._forget_the_oldest()
        self._wake.set()

    async def refresh(self, database: Database, user_id: UUID) -> None:
        """Read a player's balances anew, after a commit that did not come through this process's batcher."""
        await self._from_postgresql(database, user_id)

    async def of_player(self, database: Database, user_id: UUID) -> list[Shown]:
        """Return a player's wallets with their balances, by currency and type.

        From Redis if it has all of them; otherwise from PostgreSQL, and Redis is told.
        """
        found = await self._from_redis(user_id)
        if found is not None:
            _FROM_REDIS.inc()
            return found
        _FROM_POSTGRESQL.inc()
        return await self._from_postgresql(database, user_id)

    async def _from_postgresql(self, database: Database, user_id: UUID) -> list[Shown]:
        """Read balances that are true now, and let the writer have them."""
        async with database.connection() as connection:
            rows = await queries.wallets_of_player(connection, user_id)
        names = tuple(Name(row["id"], row["currency"], row["type"]) for row in rows)
        if names:
            self._names.pop(user_id, None)
            self._names[user_id] = (asyncio.get_running_loop().time() + NAMES_SECONDS, names)
            if len(self._names) > PLAYERS_MAX:
                del self._names[next(iter(self._names))]
        if not self._quiet_until:  # what bets leave must not be pushed out by what is only read
            for row in rows:
                _keep_newer(self._pending, row["id"], (row["sequence"], str(row["balance"])))
            self._forget_the_oldest()
            self._wake.set()
        return [Shown(row["id"], row["currency"], row["type"], row["balance"]) for row in rows]

    async def _from_redis(self, user_id: UUID) -> list[Shown] | None:
        """Read balances as Redis or this process's own memory has them; None when one is missing."""
        moment = asyncio.get_running_loop().time()
        believed_until, names = self._names.get(user_id, (0.0, ()))
        if moment >= believed_until or moment < self._quiet_until:
            return None
        if self._quiet_until:  # this one tries, the others do not wait with it
            self._quiet_until = moment + PAUSE_SECONDS
        # Looked at before Redis is: what is written and forgotten meanwhile may have come after Redis was read.
        own = [(self._taken.get(name.id), self._pending.get(name.id)) for name in names]
        try:
            async with asyncio.timeout(READ_SECONDS):
                kept = await self._redis.mget([balance_key(name.id) for name in names])
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            self._leave_alone(error)
            return None
        self._quiet_until = 0.0
        shown = []
        for name, text, (taken, pending) in zip(names, kept, own, strict=True):
            newest = max((value for value in (_value(text), taken, pending) if value is not None), default=None)
            if newest is None:
                return None
            shown.append(Shown(name.id, name.currency, name.type, Decimal(newest[1])))
        return shown

    async def _write_for_ever(self) -> None:
        while self._pending or not self._closing:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._write_pending()
            except NoScriptError:  # a Redis that was started again
                self._sha = None
                self._give_back()
            except (RedisError, OSError) as error:
                self._leave_alone(error)
                self._give_back()
                if self._closing:
                    return
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._quiet_until = 0.0
                if not self._closing:
                    await asyncio.sleep(GATHER_SECONDS)

    async def _write_pending(self) -> None:
        """Write what is pending; what could not be written stays in `_taken`."""
        self._taken, self._pending = self._pending, {}
        if self._sha is None:
            self._sha = str(await self._redis.script_load(_SET_IF_NEWER))
        while self._taken:
            some = list(islice(self._taken.items(), KEYS_MAX))
            keys = [balance_key(wallet_id) for wallet_id, _ in some]
            arguments = [part for _, value in some for part in value]
            await self._redis.evalsha(self._sha, len(keys), *keys, *arguments)
            for wallet_id, _ in some:
                del self._taken[wallet_id]

    def _give_back(self) -> None:
        """Let what could not be written wait again; what has changed meanwhile is newer and stays."""
        waiting, self._pending, self._taken = self._pending, self._taken, {}
        for wallet_id, value in waiting.items():
            _keep_newer(self._pending, wallet_id, value)
        self._forget_the_oldest()
        self._wake.set()

    def _forget_the_oldest(self) -> None:
        while len(self._pending) > PENDING_MAX:
            del self._pending[next(iter(self._pending))]

    def _leave_alone(self, error: Exception) -> None:
        """Do not ask a Redis that did not answer for a while, and say so now and then."""
        moment = asyncio.get_running_loop().time()
        if moment >= self._said_until:
            _log.warning("balances are read from PostgreSQL: Redis does not answer", error=repr(error))
            self._said_until = moment + SAID_SECONDS
        self._quiet_until = moment + PAUSE_SECONDS


_Value: TypeAlias = tuple[int, str]
"""A sequence, and the balance after it."""


def _keep_newer(values: dict[UUID, _Value], wallet_id: UUID, value: _Value) -> None:
    known = values.get(wallet_id)
    if known is None or known[0] < value[0]:
        values[wallet_id] = value


def _value(kept: str | bytes | None) -> _Value | None:
    """Read what a key holds; None when it holds nothing, or no balance."""
    found = _KEPT.fullmatch(kept) if isinstance(kept, str) else None
    return (int(found[1]), found[2]) if found else None
