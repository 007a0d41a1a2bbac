"""The write path: commands of all open requests, applied together.

A pass reads, decides and writes, each in a statement or a few (round trips):

1. read whose the commands are (wallets, status, sessions), then what their keys have done before,
   and tombstones, then the rounds: three statements;
2. decide (`rules.Ledger`, no I/O): a refusal drops its command and nothing else;
3. write everything (balances, transactions, journal, rounds, session sums) in one statement, which
   commits by itself, and only then answer.

Nothing is locked while a pass decides. Instead each player's main wallet carries a version: the
write raises it, and refuses the whole pass when one is no longer what was read. Then, and for a
while afterwards, the pass locks the main wallets first, in id order, inside a transaction: for
players who are played by several processes at once, waiting is cheaper than trying again
(docs/decisions/0011). Within a process nobody meets himself: a player's commands are always in
one lane, in the order of their arrival.

What bounds it: PostgreSQL's own cost of a bet's rows, then Python's of deciding; the log flush of
phase 3 is shared by the batch, which is where the gain over row-by-row posting comes from
(docs/performance.md has the figures). There is no timer: a lane takes whatever is waiting as soon
as it is free, so an idle system answers one command in one pass, and a busy one collects while the
pass before it commits.
"""

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Self

import asyncpg
import structlog
from prometheus_client import Counter, Histogram

from countroom import clock
from countroom.postgres import Connection, Database, Transaction
from countroom.refusal import Refusal
from countroom.wallet import queries
from countroom.wallet.commands import Answer, Command, Conclude, Reverse
from countroom.wallet.refusals import BalanceLimit, Overloaded
from countroom.wallet.rules import Ledger, check
from countroom.wallet.state import Facts, Wallet

BATCH_MAX: Final = 250
"""Commands a pass takes: beyond this its latency grows and its cost per command does not fall."""
BATCH_BYTES_MAX: Final = 256 * 1024
"""Of the rows a pass writes, roughly: a few commands of a hundred operations each must not make
everybody behind them wait for a pass of thousands of rows."""
ROW_BYTES: Final = 500
"""Of an operation's rows without its keys, on the wire."""
WAITING_MAX: Final = 2_000
"""Commands that may wait for a lane: about half a second of work; more would be answered too late anyway."""
WAITING_SECONDS_MAX: Final = 4.0
"""A command that has waited longer is refused unwritten: no provider's time-out leaves more for an
answer, and a write whose caller has gone only delays those who are still there."""
LANES: Final = 2
"""Passes under way at once in a process: one decides while PostgreSQL writes the other's. A player's
commands are always in the same lane: two passes with one wallet would only wait for each other."""
LOCKING_SECONDS: Final = 1.0
"""So long a lane locks before it reads, after another process has written what it had read."""
COLLECT_AFTER: Final = 50_000
"""New objects before Python looks for cycles among them."""
STATEMENT_SECONDS: Final = 5.0
"""A statement of a pass that takes longer is given up: no provider waits longer than 15 s for an
answer, and a command may have waited for the pass before its own."""
FAULTS: Final = (
    asyncpg.DataError, asyncpg.IntegrityConstraintViolationError,
    ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError,
)  # fmt: skip
"""What one command can cause for its whole pass, in the database or in our own code: then each is tried singly."""
ATTEMPTS_MAX: Final = 4
"""A pass is read anew when another process has just used one of its keys or wallets; then singly."""

PASSES: Final = Counter("countroom_wallet_passes", "Passes of the write path, by how they began.", ["way"])
STALE: Final = Counter("countroom_wallet_stale_passes", "Passes read anew: another process had written first.")
COMMANDS: Final = Histogram(
    "countroom_wallet_pass_commands", "Commands in a pass.", buckets=(1, 2, 5, 10, 20, 50, 100, 250)
)
_WAY: Final = {is_locking: PASSES.labels("locking" if is_locking else "versions") for is_locking in (True, False)}

_log = structlog.get_logger()

Outcome = Answer | Refusal


class Passed(NamedTuple):
    """What a pass gave."""

    outcomes: list[Outcome]
    changed: list[Wallet]
    """Wallets as they are after it."""
    was_stale: bool = False
    """Another process had written what it had read."""


async def post(tx: Transaction, commands: Sequence[Command]) -> Passed:
    """Apply commands inside the caller's transaction, under locks; return their outcomes and the wallets changed.

    Raises:
        asyncpg.UniqueViolationError: another process has used one of the keys meanwhile; the
            transaction is lost, and a new one will see what that was.
    """
    return await _pass(tx, commands, is_locking=True)


async def _pass(connection: Connection, commands: Sequence[Command], *, is_locking: bool) -> Passed:
    refused: dict[int, Refusal] = {}
    for number, command in enumerate(commands):
        try:
            check(command)
        except Refusal as refusal:
            refused[number] = refusal
    asked = [command for number, command in enumerate(commands) if number not in refused] if refused else commands
    if not asked:
        return Passed(list(refused.values()), [])
    _WAY[is_locking].inc()
    facts = Facts()
    if is_locking:
        await queries.lock_purses(connection, asked)
    await queries.read_purses(connection, asked, facts)
    await queries.read_keys(connection, asked, facts)
    await queries.read_rounds(connection, asked, facts)
    moment = clock.now()
    ledger = Ledger(facts, moment=moment, new_id=clock.new_id)
    outcomes: list[Outcome] = []
    for number, command in enumerate(commands):
        if number in refused:
            outcomes.append(refused[number])
            continue
        try:
            outcomes.append(ledger.apply(command))
        except Refusal as refusal:
            outcomes.append(refusal)
    if ledger.writes.purses:
        await queries.write(connection, ledger.writes, moment)
    return Passed(outcomes, list(ledger.writes.wallets.values()))


async def post_alone(database: Database, commands: Sequence[Command], *, is_locking: bool = False) -> Passed:
    """Apply commands by themselves, reading anew when a key or a wallet was just written elsewhere.

    What one command alone cannot get written (a fault, not a refusal) is raised for a batch of one,
    and for a larger batch tried singly, so that it costs nobody else.
    """
    was_stale = False
    for _ in range(ATTEMPTS_MAX):
        try:
            passed = await _attempt(database, commands, is_locking=is_locking)
            return passed._replace(was_stale=was_stale)
        except (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError):
            continue
        except FAULTS:
            break
        except asyncpg.PostgresError as error:
            if error.sqlstate != queries.STALE:
                raise
            STALE.inc()
            is_locking = was_stale = True
    if len(commands) == 1:
        try:
            return await _attempt(database, commands, is_locking=True)
        except asyncpg.NumericValueOutOfRangeError:
            # The sums of a game session alone are added up by the database; nobody else knows them.
            return Passed([BalanceLimit("The session's sums cannot hold that much.")], [], was_stale)
    outcomes: list[Outcome] = []
    changed: list[Wallet] = []
    for command in commands:
        try:
            one = await post_alone(database, [command], is_locking=True)
        except (asyncpg.PostgresError, *FAULTS):
            _log.exception("a command could not be written", source=command.source)
            one = Passed([Overloaded("This could not be written; try again.")], [])
        outcomes += one.outcomes
        changed += one.changed
    return Passed(outcomes, changed, was_stale)


async def _attempt(database: Database, commands: Sequence[Command], *, is_locking: bool) -> Passed:
    if is_locking:
        async with database.transaction() as tx:
            return await post(tx, commands)
    async with database.connection() as connection:
        return await _pass(connection, commands, is_locking=False)


class _Waiting(NamedTuple):
    """A command, and who waits for it."""

    command: Command
    future: "asyncio.Future[Outcome]"
    since: float
    """The loop's time at which it came."""
    size: int
    """Bytes that its rows take, roughly."""


class _Lane:
    """What waits for one of the passes."""

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.wake = asyncio.Event()
        self.locks_until = 0.0
        """The loop's time until which its passes lock first."""

    def take(self) -> list[_Waiting]:
        """Take what one pass may hold; at least one."""
        waiting = self.waiting
        taken = [waiting.popleft()]
        size = taken[0].size
        while waiting and len(taken) < BATCH_MAX and (size := size + waiting[0].size) <= BATCH_BYTES_MAX:
            taken.append(waiting.popleft())
        return taken


def collect_rarely() -> None:
    """Spare a process that runs a batcher most of Python's searches for reference cycles.

    Commands and answers are freed by reference counting. With the default threshold of 700 new
    objects the searches were a twelfth of a bet's time; what exists now is never searched again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


class Batcher:
    """Collects commands and applies them together. One in each process; several never deadlock."""

    def __init__(
        self, database: Database, *, on_change: Callable[[Sequence[Wallet]], None] = lambda _wallets: None
    ) -> None:
        self.database = database
        self.on_change = on_change
        """Hears, after each commit, which wallets it changed; must return at once."""
        self._lanes = [_Lane() for _ in range(LANES)]
        self._running: list[asyncio.Task[None]] = []
        self._closing = False

    async def __aenter__(self) -> Self:
        """Start the lanes."""
        self._running = [asyncio.create_task(self._run(lane)) for lane in self._lanes]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Take nothing more, finish what was taken, and stop."""
        self._closing = True
        for lane in self._lanes:
            lane.wake.set()
        await asyncio.gather(*self._running)

    async def submit(self, command: Command) -> Answer:
        """Apply one command together with whatever else is waiting.

        Giving up on the answer (a cancelled request) does not stop a write that has begun.

        Raises:
            WalletRefusal: the command is refused; nothing has moved.
            Overloaded: too much is waiting, or the process is stopping; nothing was accepted.
        """
        check(command)
        lane = self._lanes[hash(command.user_id) % LANES]
        if self._closing or len(lane.waiting) >= WAITING_MAX:
            raise Overloaded
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        lane.waiting.append(_Waiting(command, future, loop.time(), _size(command)))
        lane.wake.set()
        outcome = await future
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome

    async def _run(self, lane: _Lane) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not lane.waiting:
                if self._closing:
                    return
                lane.wake.clear()
                await lane.wake.wait()
                continue
            taken = lane.take()
            now = loop.time()
            if now - taken[0].since > WAITING_SECONDS_MAX:
                taken = _refuse_late(taken, now)
                if not taken:
                    continue
            COMMANDS.observe(len(taken))
            try:
                passed = await post_alone(
                    self.database, [each.command for each in taken], is_locking=now < lane.locks_until
                )
            except Exception as error:  # noqa: BLE001 - whatever it was, every caller gets an answer
                _log.warning("a pass failed", commands=len(taken), error=repr(error))
                passed = Passed([Overloaded("The wallet cannot be reached; try again.") for _ in taken], [])
                await asyncio.sleep(0.05)  # a database that is away must not make this loop spin
            if passed.was_stale:
                lane.locks_until = loop.time() + LOCKING_SECONDS
            self.on_change(passed.changed)
            for each, outcome in zip(taken, passed.outcomes, strict=True):
                if not each.future.done():  # its caller may have gone
                    each.future.set_result(outcome)
            # Whoever was just answered may have more to ask: let them come before the next pass leaves.
            await asyncio.sleep(0)


def _size(command: Command) -> int:
    size = 0
    for operation in command.operations:
        size += ROW_BYTES + len(operation.key)
        if isinstance(operation, (Reverse, Conclude)):
            size += len(operation.target)
    return size


def _refuse_late(taken: list[_Waiting], now: float) -> list[_Waiting]:
    """Refuse what has waited too long; return the rest."""
    in_time = []
    for each in taken:
        if now - each.since <= WAITING_SECONDS_MAX:
            in_time.append(each)
        elif not each.future.done():
            each.future.set_result(Overloaded())
    return in_time
