"""The write path: commands of all open requests, applied together.

A pass reads, decides and writes, in two round trips, or in one:

1. read whose the commands are (status, wallets, sessions), their rounds, and whether their keys are
   known; only when some are, or something is to be reversed, what those have done before. A process
   remembers its latest players (`memory`), and reads only for the others;
2. decide (`rules.Ledger`, no I/O): a refusal drops its command and nothing else;
3. write everything (balances, transactions, journal, rounds, session sums) in one statement, which
   commits by itself, and only then answer. Passes of plain bets and wins follow each other on one
   connection without waiting (docs/decisions/0032).

Nothing is locked while a pass decides. Instead each player's main wallet carries a version: the
write raises it, but for plain bets and wins, which are added to what is there (docs/decisions/0031), and
refuses the whole pass when one is no longer what was read or remembered. Then
the pass is made anew: from memory, with everything read, and at last with the main wallets locked
first, in id order, inside a transaction; for players who are played by several processes at once,
waiting is cheaper than trying again (docs/decisions/0011). Within a process nobody meets himself:
a player is in one pass at a time, his commands in the order of their arrival.

What bounds it: PostgreSQL's own cost of a bet's rows, then Python's of deciding; the log flush of
phase 3 is shared by the batch, which is where the gain over row-by-row posting comes from
(docs/performance.md has the figures). A lane takes its share of whatever is waiting as soon as it is free, so an
idle system answers one command in one pass, and a busy one collects while the pass before it commits. There is no
timer, but in a process that is busy beside others: its passes wait some milliseconds for whoever comes again.
"""

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from decimal import Decimal
from time import monotonic
from typing import Final, NamedTuple, Self
from uuid import UUID

import asyncpg
import structlog
from msgspec.structs import replace
from prometheus_client import Counter, Histogram

from countroom import clock
from countroom.pipelined import PipelinedConnection
from countroom.postgres import Connection, Database, Transaction
from countroom.refusal import Refusal
from countroom.wallet import queries, writing
from countroom.wallet.commands import Answer, Command, Conclude, Reverse
from countroom.wallet.memory import Memory
from countroom.wallet.refusals import BalanceLimit, Overloaded
from countroom.wallet.rules import Ledger, check
from countroom.wallet.state import Facts, Purse, Wallet, Writes

BATCH_MAX: Final = 250
"""Commands a pass takes: beyond this its latency grows and its cost per command does not fall."""
BATCH_BYTES_MAX: Final = 256 * 1024
"""Of the rows a pass writes, roughly: a few commands of a hundred operations each must not make
everybody behind them wait for a pass of thousands of rows."""
ROW_BYTES: Final = 500
"""Of an operation's rows without its keys, on the wire."""
OUTSTANDING_MAX: Final = 2_000
"""Commands that may be without an answer: about half a second of work; more would be answered too late anyway."""
WAITING_SECONDS_MAX: Final = 4.0
"""A command that has waited longer is refused unwritten: no provider's time-out leaves more for an
answer, and a write whose caller has gone only delays those who are still there."""
LANES: Final = 2
"""Passes under way at once: one decides while another is written, and is there when PostgreSQL is through with that.
More cost more, each being smaller."""
LANES_AMONG_OTHERS: Final = 1
"""Of a process beside others that do the same: those have work for PostgreSQL while this one reads requests and writes
answers, and one pass with everything that waits costs less than two with half of it."""
GATHER_SECONDS: Final = 0.003
"""So long such a process's pass may wait for those who were answered by the pass before: on a busy machine they have
more to ask within a millisecond or two. Passes half as large again cost PostgreSQL and Python a seventh less a bet."""
GATHER_SHARE: Final = 0.7
"""Of those who were waiting or answered when the pass before ended: when so many are there, it waits no longer."""
GATHER_FROM: Final = 8
"""So many must have been there: where fewer are, nobody waits for anybody."""
MEMORY_LATEST: Final = 20
"""Passes from memory of which a lane knows whether somebody else had written about one of their players first."""
MEMORY_REFUSED_MAX: Final = 10
"""Of these. A pass that is refused and made anew costs half as much again as one for which everybody is read at once:
where more are refused, reading is cheaper. Fewer are players who have paid in or opened a game meanwhile."""
MEMORY_PROVED: Final = 100
"""Passes from memory after which too many refusals are something new: everybody is forgotten, as after something that
concerned many players at once, and each is read for once."""
MEMORY_RESTS_SECONDS: Final = (0.1, 30.0)
"""So long a lane reads for everybody where that was not enough: other processes write about the same players all the
time. Twice as long each time."""
LOCKING_SECONDS: Final = 1.0
"""So long a lane locks before it reads, after somebody has written between its reading and its writing."""
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

PASSES: Final = Counter("countroom_wallet_passes", "Passes of the write path, by where their facts came from.", ["way"])
STALE: Final = Counter("countroom_wallet_stale_passes", "Passes made anew: somebody else had written first.")
COMMANDS: Final = Histogram(
    "countroom_wallet_pass_commands", "Commands in a pass.", buckets=(1, 2, 5, 10, 20, 50, 100, 250)
)
_WAYS: Final = {way: PASSES.labels(way) for way in ("memory", "reads", "locks")}

_log = structlog.get_logger()

Outcome = Answer | Refusal
Borrow = Callable[[], AbstractAsyncContextManager[Connection]]
"""Gives a connection for a while."""


class Passed(NamedTuple):
    """What a pass gave."""

    outcomes: list[Outcome]
    changed: list[Wallet]
    """Wallets as they are after it."""


async def post(tx: Transaction, commands: Sequence[Command]) -> Passed:
    """Apply commands inside the caller's transaction, under locks; return their outcomes and the wallets changed.

    Raises:
        asyncpg.UniqueViolationError: another process has used one of the keys meanwhile; the
            transaction is lost, and a new one will see what that was.
    """
    refused: dict[int, Refusal] = {}
    for number, command in enumerate(commands):
        try:
            check(command)
        except Refusal as refusal:
            refused[number] = refusal
    fine = [command for number, command in enumerate(commands) if number not in refused]
    await queries.lock_purses(tx, fine)
    passed = await _pass(lambda: nullcontext(tx), fine)
    outcomes = iter(passed.outcomes)
    return passed._replace(outcomes=[refused.get(number) or next(outcomes) for number in range(len(commands))])


async def _pass(
    borrow: Borrow, commands: Sequence[Command], memory: Memory | None = None,
    pipelined: PipelinedConnection | None = None,
) -> Passed:  # fmt: skip
    """Read what is not remembered, decide, write; the commands have been checked.

    What is plain goes behind what is under way on the ``pipelined`` connection, if there is one; all else through a
    connection that is borrowed for it.
    """
    facts = Facts()
    unread = commands if memory is None else memory.recall(commands, facts)
    if unread:
        async with borrow() as connection:
            await queries.read_facts(connection, unread, facts)
    moment = clock.now()
    ledger = Ledger(facts, moment=moment, new_id=clock.new_id)
    outcomes: list[Outcome] = []
    refused: list[Command] = []
    for command in commands:
        try:
            outcomes.append(ledger.apply(command))
        except Refusal as refusal:
            outcomes.append(refusal)
            refused.append(command)
    if memory is not None:
        # What writes nothing (a refusal, a round closed again) is verified by no write: neither that the
        # player is as he is remembered or was read, nor that what is refused is not the repeat of what was done.
        read = {id(command) for command in unread}
        unread_for = [command for command in refused if id(command) not in read]
        half_read = _purses(refused, facts) if facts.is_torn else []
        unwritten = _unwritten(commands, unread, facts, ledger.writes) + half_read
        if (unwritten or unread_for) and not await _still_holds(borrow, unwritten, unread_for):
            memory.forget(commands)
            return await _pass(borrow, commands, memory, pipelined)
    writes = ledger.writes
    if pipelined is None or (refused and _is_written_beside(refused, facts, writes)):
        writes.is_plain = False  # a refusal holds only if the balance is the one that it was decided on
    if writes.purses:
        differences = await _write(borrow, pipelined, writes, moment, from_memory=len(unread) < len(commands))
        if differences:
            outcomes = _corrected(commands, outcomes, facts, differences)
    if memory is not None:
        memory.learn(facts, writes, unread)
    return Passed(outcomes, list(writes.wallets.values()))


async def _write(
    borrow: Borrow, pipelined: PipelinedConnection | None, writes: Writes, moment: datetime, *, from_memory: bool
) -> dict[UUID, Decimal]:
    """Write what a pass has left; return by how much balances are others than was decided."""
    if writes.is_plain and pipelined is not None:
        return await writing.write_plain(pipelined, writes, moment, from_memory=from_memory)
    async with borrow() as connection:
        await writing.write(connection, writes, moment, from_memory=from_memory)
    return {}


async def _still_holds(borrow: Borrow, purses: Sequence[Purse], commands: Sequence[Command]) -> bool:
    async with borrow() as connection:
        return await queries.still_holds(connection, purses, commands)


def _unwritten(commands: Sequence[Command], unread: Sequence[Command], facts: Facts, writes: Writes) -> list[Purse]:
    """Return the purses that were remembered and are not written."""
    if len(writes.purses) == len(facts.players):
        return []
    read = {(command.user_id, command.currency) for command in unread}
    remembered = {(command.user_id, command.currency) for command in commands} - read
    purses = [player.purse for whose in remembered if (player := facts.players[whose]) is not None]
    return [purse for purse in purses if purse.main.id not in writes.purses]


def _purses(commands: Sequence[Command], facts: Facts) -> list[Purse]:
    """Return the purses of the commands' players who are there."""
    players = [facts.players.get((command.user_id, command.currency)) for command in commands]
    return [player.purse for player in players if player is not None]


def _is_written_beside(refused: Sequence[Command], facts: Facts, writes: Writes) -> bool:
    """Whether something else is written about somebody to whom a command was refused."""
    return any(purse.main.id in writes.purses for purse in _purses(refused, facts))


def _corrected(
    commands: Sequence[Command], outcomes: Sequence[Outcome], facts: Facts, differences: Mapping[UUID, Decimal]
) -> list[Outcome]:
    """Return the outcomes with the balances that the write has found."""
    corrected: list[Outcome] = []
    for command, outcome in zip(commands, outcomes, strict=True):
        player = facts.players.get((command.user_id, command.currency))
        difference = differences.get(player.purse.main.id) if player is not None else None
        if difference is not None and isinstance(outcome, Answer) and not outcome.repeated:
            corrected.append(replace(outcome, balance=outcome.balance + difference))
        else:
            corrected.append(outcome)
    return corrected


async def post_alone(database: Database, commands: Sequence[Command], lane: "_Lane | None" = None) -> Passed:
    """Apply checked commands by themselves; what was refused because somebody had written meanwhile is tried anew.

    A lane's memory serves first, then what is read, and at last what is read under locks. What one
    command alone cannot get written (a fault, not a refusal) is raised for a batch of one, and for a
    larger batch tried singly, so that it costs nobody else.
    """
    lane = lane or _Lane(Memory())
    for attempt in range(ATTEMPTS_MAX):
        try:
            return await lane.attempt(database, commands, again=attempt > 0)
        except (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError):
            lane.was_refused()
        except FAULTS:
            break
        except asyncpg.PostgresError as error:
            if error.sqlstate != writing.STALE:
                raise
            STALE.inc()
            lane.was_refused()
    if len(commands) == 1:
        try:
            async with database.transaction() as tx:
                return await post(tx, commands)
        except asyncpg.NumericValueOutOfRangeError:
            # The sums of a game session alone are added up by the database; nobody else knows them.
            return Passed([BalanceLimit("The session's sums cannot hold that much.")], [])
    outcomes: list[Outcome] = []
    changed: list[Wallet] = []
    for command in commands:
        try:
            one = await post_alone(database, [command])
        except (asyncpg.PostgresError, *FAULTS):
            _log.exception("a command could not be written", source=command.source)
            one = Passed([Overloaded("This could not be written; try again.")], [])
        outcomes += one.outcomes
        changed += one.changed
    return Passed(outcomes, changed)


class _Waiting(NamedTuple):
    """A command, and who waits for it."""

    command: Command
    future: "asyncio.Future[Outcome]"
    since: float
    """The loop's time at which it came."""
    size: int
    """Bytes that its rows take, roughly."""


class _Lane:
    """One of the passes that may be under way at once, and how it goes about the next one."""

    def __init__(self, memory: Memory, pipelined: PipelinedConnection | None = None) -> None:
        self.memory = memory
        self.pipelined = pipelined
        self._refused: deque[bool] = deque(maxlen=MEMORY_LATEST)
        """Of the latest passes from memory."""
        self._proved = MEMORY_PROVED
        """Passes from memory since too many of them were refused."""
        self._reads_until = 0.0
        """The time until which its memory rests."""
        self._rests_seconds, _ = MEMORY_RESTS_SECONDS
        self._locks_until = 0.0
        """The time until which its passes lock first."""
        self._way = "memory"

    async def attempt(self, database: Database, commands: Sequence[Command], *, again: bool) -> Passed:
        """Make one pass, the way that promises most now; ``again`` where it has been refused.

        Raises:
            asyncpg.PostgresError: nothing of it was written.
        """
        now = monotonic()
        self._way = "locks" if now < self._locks_until else "reads" if again or now < self._reads_until else "memory"
        _WAYS[self._way].inc()
        try:
            if self._way == "locks":
                self.memory.forget(commands)
                async with database.transaction() as tx:
                    await queries.lock_purses(tx, commands)
                    return await _pass(lambda: nullcontext(tx), commands)
            if self._way == "reads":
                self.memory.forget(commands)
            passed = await _pass(database.connection, commands, self.memory, self.pipelined)
        except BaseException:
            self.memory.forget(commands)
            raise
        if self._way == "memory":
            self._judge(refused=False)
        return passed

    def was_refused(self) -> None:
        """Hear that somebody else had written about the same players, or used the same keys."""
        if self._way == "memory":
            self._judge(refused=True)
        else:
            self._locks_until = monotonic() + LOCKING_SECONDS

    def _judge(self, *, refused: bool) -> None:
        """Judge by one more pass from memory whether it serves."""
        self._refused.append(refused)
        self._proved += 1
        if sum(self._refused) < MEMORY_REFUSED_MAX:
            return
        least, most = MEMORY_RESTS_SECONDS
        if self._proved > MEMORY_PROVED:
            self.memory.forget_everybody()
            self._rests_seconds = least
        else:
            self._reads_until = monotonic() + self._rests_seconds
            self._rests_seconds = min(2 * self._rests_seconds, most)
        self._refused.clear()
        self._proved = 0


class _Queue:
    """What waits for the next pass. A player is in one pass at a time, his commands in the order of their arrival."""

    def __init__(self, lanes: int) -> None:
        self.outstanding = 0
        """Commands that have no answer yet, those in passes among them."""
        self._lanes = lanes
        self._waiting: deque[_Waiting] = deque()
        self._held: dict[UUID, list[_Waiting]] = {}
        """Of each player who is in a pass: what waits for the end of that."""
        self._in_passes: set[UUID] = set()
        self._expected = 0.0
        """How many the next pass waits for, for a while."""
        self._enough = asyncio.Event()

    def add(self, new: _Waiting) -> None:
        self.outstanding += 1
        self._waiting.append(new)
        if len(self._waiting) >= self._expected:
            self._enough.set()

    async def gather(self) -> None:
        """Let those come who were answered just now and have more to ask; where nobody was, return at once."""
        if len(self._waiting) >= self._expected:
            return
        self._enough.clear()
        timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._enough.set)
        await self._enough.wait()
        timer.cancel()

    def take(self) -> list[_Waiting]:
        """Take what the next pass may hold: a share of all that is outstanding, so that passes are equally large."""
        most = min(BATCH_MAX, -(-self.outstanding // self._lanes))
        taken: list[_Waiting] = []
        size = 0
        while self._waiting and len(taken) < most:
            each = self._waiting[0]
            if each.command.user_id in self._in_passes:
                self._held.setdefault(each.command.user_id, []).append(self._waiting.popleft())
                continue
            size += each.size
            if taken and size > BATCH_BYTES_MAX:
                break
            taken.append(self._waiting.popleft())
        self._in_passes.update([each.command.user_id for each in taken])
        if not taken:
            self._expected = 0.0  # it is quiet
        return taken

    def end(self, taken: Sequence[_Waiting]) -> None:
        """Let the next pass have what waited for the end of this one."""
        gathers = self._lanes <= LANES_AMONG_OTHERS and self.outstanding >= GATHER_FROM
        self._expected = min(self.outstanding * GATHER_SHARE, BATCH_MAX) if gathers else 0.0
        self.outstanding -= len(taken)
        for each in taken:
            user_id = each.command.user_id
            self._in_passes.discard(user_id)
            if held := self._held.pop(user_id, None):
                self._waiting.extendleft(reversed(held))


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
        self, database: Database, *, on_change: Callable[[Sequence[Wallet]], None] = lambda _wallets: None,
        lanes: int = LANES,
    ) -> None:  # fmt: skip
        self.database = database
        self.on_change = on_change
        """Hears, after each commit, which wallets it changed; must return at once."""
        memory = Memory()
        self._pipelined = database.pipelined(writing.PLAIN_STATEMENTS, statement_seconds=STATEMENT_SECONDS)
        self._lanes = [_Lane(memory, self._pipelined) for _ in range(lanes)]
        self._queue = _Queue(lanes)
        self._wake = asyncio.Event()
        self._running: list[asyncio.Task[None]] = []
        self._closing = False

    async def __aenter__(self) -> Self:
        """Start the lanes."""
        self._running = [asyncio.create_task(self._run(lane)) for lane in self._lanes]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Take nothing more, finish what was taken, and stop."""
        self._closing = True
        self._wake.set()
        await asyncio.gather(*self._running)
        await self._pipelined.close()

    async def submit(self, command: Command) -> Answer:
        """Apply one command together with whatever else is waiting.

        Giving up on the answer (a cancelled request) does not stop a write that has begun.

        Raises:
            WalletRefusal: the command is refused; nothing has moved.
            Overloaded: too much is waiting, or the process is stopping; nothing was accepted.
        """
        check(command)
        if self._closing or self._queue.outstanding >= OUTSTANDING_MAX:
            raise Overloaded
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        self._queue.add(_Waiting(command, future, loop.time(), _size(command)))
        self._wake.set()
        outcome = await future
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome

    async def _run(self, lane: _Lane) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._queue.gather()
            taken = self._queue.take()
            if not taken:
                if self._closing:
                    return  # what is still held, the lane that holds it will take
                self._wake.clear()
                await self._wake.wait()
                continue
            now = loop.time()
            late = [each for each in taken if now - each.since > WAITING_SECONDS_MAX]
            if late:
                self._answer(late, [Overloaded() for _ in late])
            in_time = [each for each in taken if now - each.since <= WAITING_SECONDS_MAX] if late else taken
            if in_time:
                await self._pass(lane, in_time)
            self._queue.end(taken)
            # Whoever was just answered may have more to ask: let them come before the next pass leaves.
            await asyncio.sleep(0)

    async def _pass(self, lane: _Lane, taken: Sequence[_Waiting]) -> None:
        COMMANDS.observe(len(taken))
        try:
            passed = await post_alone(self.database, [each.command for each in taken], lane)
        except Exception as error:  # noqa: BLE001 - whatever it was, every caller gets an answer
            _log.warning("a pass failed", commands=len(taken), error=repr(error))
            passed = Passed([Overloaded("The wallet cannot be reached; try again.") for _ in taken], [])
            await asyncio.sleep(0.05)  # a database that is away must not make this loop spin
        self.on_change(passed.changed)
        self._answer(taken, passed.outcomes)

    def _answer(self, answered: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> None:
        for each, outcome in zip(answered, outcomes, strict=True):
            if not each.future.done():  # its caller may have gone
                each.future.set_result(outcome)


def _size(command: Command) -> int:
    size = 0
    for operation in command.operations:
        size += ROW_BYTES + len(operation.key)
        if isinstance(operation, (Reverse, Conclude)):
            size += len(operation.target)
    return size
